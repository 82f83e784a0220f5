package version

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommit(t *testing.T) {
	build := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "6c62409abc"}
	require.Equal(t, "6c62409abc", Commit(build("(devel)", revision, debug.BuildSetting{Key: "vcs.modified", Value: "false"})))
	require.Equal(t, "6c62409abc, with changes", Commit(build("(devel)", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"})))
	require.Equal(t, "bbe1652a0b1c", Commit(build("v0.0.0-20260102030405-bbe1652a0b1c")), "installed by the path of the module")
	require.Equal(t, "of v0.1.0", Commit(build("v0.1.0")))
	require.Contains(t, Commit(build("(devel)")), "unknown")
	require.Equal(t, "unknown", Commit(nil))
}

func TestText(t *testing.T) {
	require.Regexp(t, `^minfc \d+\.\d+\.\d+\ncommit .+\ntargets sm_80`, Text())
}
