package runtime

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// TestMutatedPrograms: whatever is changed in a program, what is still accepted can be loaded and launched, or says why not, in little
// time.
func TestMutatedPrograms(t *testing.T) {
	rng, accepted, launched := rand.New(rand.NewPCG(9, 10)), 0, 0
	cases := campaign.Cases(300, 1000, 5000)
	for range cases {
		text := []string{verticalSlash, blockSparse, blockShares, spreadRules}[rng.IntN(4)]
		a := artifactOf(t, text, causalDense, 2)
		program := &a.Manifest.Programs[0]
		for range 1 + rng.IntN(2) {
			*program = mutated(rng, *program)
		}
		if a.Verify() != nil {
			continue
		}
		accepted++
		start := time.Now()
		if launchMutated(a) == nil {
			launched++
		}
		require.Less(t, time.Since(start), 10*time.Second, "%s", *program)
	}
	t.Logf("of %d programs %d were accepted, and %d launched", cases, accepted, launched)
	require.Greater(t, accepted, cases/10)
	require.Greater(t, launched, cases/20)
}

var number = regexp.MustCompile(`\b[0-9]+\b`)

// mutated changes a line of a program, or a number or a name in it.
func mutated(rng *rand.Rand, program string) string {
	lines := strings.Split(strings.TrimSuffix(program, "\n"), "\n")
	i, j := rng.IntN(len(lines)), rng.IntN(len(lines))
	words := func(n int) []string { return strings.Fields(lines[n]) }
	switch rng.IntN(5) {
	case 0:
		lines = slices.Delete(lines, i, i+1)
	case 1:
		lines[i], lines[j] = lines[j], lines[i]
	case 2:
		lines = slices.Insert(lines, i, lines[j])
	case 3:
		values := []string{"0", "1", "-1", "3", "64", "65537", "1073741824", "9223372036854775807"}
		lines[i] = number.ReplaceAllLiteralString(lines[i], values[rng.IntN(len(values))])
	default:
		from, to := words(i), words(j)
		lines[i] = strings.Replace(lines[i], from[rng.IntN(len(from))], to[rng.IntN(len(to))], 1)
	}
	return strings.Join(lines, "\n") + "\n"
}

// launchMutated loads and launches what was accepted; errors are welcome, panics are not.
func launchMutated(a *artifact.Artifact) error {
	dev := devicetest.New()
	dev.Is.Name, dev.Is.Multiprocessors = "NVIDIA H200", 132
	k, err := Load(dev, a, artifact.Select{})
	if err != nil {
		return err
	}
	defer k.Close()
	for _, length := range []int{100, 1 << 16} {
		for _, noFallback := range []bool{true, false} {
			c := bigCall(length)
			c.NoFallback, c.Heads = noFallback, []int{0, 1, 3}
			if launchErr := k.Launch(nil, c); launchErr != nil {
				err = launchErr
			}
		}
	}
	return err
}
