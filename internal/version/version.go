// Package version says which build of minfc runs.
package version

import (
	"fmt"
	"runtime/debug"
	"strings"

	"golang.org/x/mod/module"

	"github.com/minfc/minfc/compile"
)

// Text is the version, the commit and the targets, a line each.
func Text() string {
	info, _ := debug.ReadBuildInfo()
	return fmt.Sprintf("minfc %s\ncommit %s\ntargets %s", compile.Version, Commit(info), strings.Join(compile.Targets(), ", "))
}

// Commit is the commit that the program was built from: what the go command found in the clone, or what the version of the module
// says. A nil info is a build without modules.
func Commit(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	if rev, err := module.PseudoVersionRev(info.Main.Version); revision == "" && err == nil {
		return rev
	}
	switch {
	case revision == "" && info.Main.Version != "" && info.Main.Version != "(devel)":
		return "of " + info.Main.Version
	case revision == "":
		return "unknown (built by go run, or with -buildvcs=false)"
	case settings["vcs.modified"] == "true":
		return revision + ", with changes"
	}
	return revision
}
