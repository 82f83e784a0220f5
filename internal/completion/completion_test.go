package completion

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

type grammar struct {
	Run struct {
		File   string `arg:"" optional:""`
		Target string `default:"auto" enum:"auto,sm_80" help:"GPU generation. More of it."`
		Kind   string
	} `cmd:"" help:"It's run."`
	Plan struct {
		Show struct {
			JSON bool `name:"json"`
		} `cmd:""`
	} `cmd:""`
}

func script(t *testing.T, shell string) string {
	t.Helper()
	k, err := kong.New(&grammar{}, kong.Name("tool"))
	require.NoError(t, err)
	s, err := Script(shell, k.Model, Names{[]string{"dense", "a_shape"}, []string{"run"}, map[string][]string{"kind": {"slash", "blocks"}}})
	require.NoError(t, err)
	return s
}

// TestBash asks bash itself what it would offer.
func TestBash(t *testing.T) {
	path, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for line, want := range map[string]string{
		"tool ":                     "run plan --help",
		"tool p":                    "plan",
		"tool plan ":                "show --help",
		"tool plan show --":         "--help --json",
		"tool run a":                "a_shape",
		"tool run --ta":             "--target",
		"tool run --target ":        "auto sm_80",
		"tool run --kind s":         "slash",
		"tool run dense --target s": "sm_80",
	} {
		words := strings.Split(line, " ")
		quoted := "'" + strings.Join(words, "' '") + "'"
		ask := script(t, "bash") + "COMP_WORDS=(" + quoted + "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _tool; echo \"${COMPREPLY[@]}\""
		out, err := exec.Command(path, "--norc", "-c", ask).CombinedOutput()
		require.NoError(t, err, string(out))
		require.ElementsMatch(t, strings.Fields(want), strings.Fields(string(out)), line)
	}
}

// TestFish asks fish, where it is installed; else only the lines are looked at.
func TestFish(t *testing.T) {
	s := script(t, "fish")
	require.Contains(t, s, `(__tool_path)" -a 'run' -d 'It'\''s run'`)
	require.Contains(t, s, "-l target -xa 'auto sm_80' -d 'GPU generation'")
	path, err := exec.LookPath("fish")
	if err != nil {
		return
	}
	for line, want := range map[string]string{"tool p": "plan", "tool plan s": "show", "tool run --target s": "sm_80", "tool run a_": "a_shape"} {
		out, err := exec.Command(path, "--no-config", "-c", s+"complete -C '"+line+"'").CombinedOutput()
		require.NoError(t, err, string(out))
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
		require.Equal(t, want, first, line)
	}
}

func TestShells(t *testing.T) {
	require.Contains(t, script(t, "zsh"), "bashcompinit")
	k, err := kong.New(&grammar{})
	require.NoError(t, err)
	_, err = Script("csh", k.Model, Names{})
	require.ErrorContains(t, err, "want one of bash, zsh, fish")
}
