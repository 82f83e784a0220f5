package ptxgen

import (
	"math/rand"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/llir/llvm/asm"
	"github.com/llir/llvm/ir"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
)

// FuzzCompile: whatever the parser makes of mutated text, Compile refuses it or makes PTX, and what Verify accepts
// compiles. Tokens are mutated rather than bytes: little of the rest would parse, and the parser can hang on it.
func FuzzCompile(f *testing.F) {
	texts := seedTexts(f)
	for k := range texts {
		for seed := range int64(20) {
			f.Add(k, seed)
		}
	}
	f.Fuzz(func(t *testing.T, k int, seed int64) {
		if k < 0 || k >= len(texts) {
			return
		}
		compileMutant(t, texts[k], seed)
	})
}

// TestMutants runs the fuzz body on a fixed set, and checks that enough mutants parse and that both answers occur.
func TestMutants(t *testing.T) {
	each := int64(campaign.Cases(10, 30, 60))
	accepted, refused := 0, 0
	for _, text := range seedTexts(t) {
		for seed := range each {
			switch compileMutant(t, text, 1000+seed) {
			case mutantAccepted:
				accepted++
			case mutantRefused:
				refused++
			}
		}
	}
	require.Greater(t, accepted, int(each)*50/60)
	require.Greater(t, refused, int(each)*50/60)
}

func seedTexts(t testing.TB) []string {
	var texts []string
	for _, dir := range []string{"ok", "bad"} {
		paths, err := filepath.Glob(filepath.Join(goldenDir, dir, "*.txtar"))
		require.NoError(t, err)
		for _, path := range paths {
			a, err := txtar.ParseFile(path)
			require.NoError(t, err)
			if filepath.Base(path) != "intrinsics.txtar" { // long: mutations of it say little
				texts = append(texts, section(a, "in.ll"))
			}
		}
	}
	return texts
}

const (
	mutantUnparsed = iota
	mutantRefused
	mutantAccepted
)

func compileMutant(t *testing.T, text string, seed int64) int {
	text = mutate(text, rand.New(rand.NewSource(seed)))
	m := parseOrNil(text)
	if m == nil {
		return mutantUnparsed
	}
	verified := Verify(m)
	out, err := Compile(m, Options{Target: "sm_80"})
	if verified != nil {
		require.Error(t, err)
		return mutantRefused
	}
	require.NoError(t, err, text)
	require.NotEmpty(t, out)
	return mutantAccepted
}

var tokens = regexp.MustCompile(`"[^"\n]*"|[%@!]?[A-Za-z0-9_.$-]+|\n|[^\sA-Za-z0-9]|[ \t]+`)

// mutate replaces, swaps or drops a few tokens or lines, always by others of the same text.
func mutate(text string, r *rand.Rand) string {
	if r.Intn(3) == 0 {
		lines := strings.Split(text, "\n")
		i, j := r.Intn(len(lines)), r.Intn(len(lines))
		switch r.Intn(3) {
		case 0:
			lines[i], lines[j] = lines[j], lines[i]
		case 1:
			lines[i] = ""
		default:
			lines[i] += "\n" + lines[j]
		}
		return strings.Join(lines, "\n")
	}
	toks := tokens.FindAllString(text, -1)
	var words []int
	for i, tok := range toks {
		if strings.Trim(tok, " \t\n(){}[]<>,=*") != "" {
			words = append(words, i)
		}
	}
	for range 1 + r.Intn(3) {
		i := words[r.Intn(len(words))]
		toks[i] = sameKind(toks, words, toks[i], r)
	}
	return strings.Join(toks, "")
}

// sameKind picks a token that starts like tok, so that most mutants still parse.
func sameKind(toks []string, words []int, tok string, r *rand.Rand) string {
	for range 20 {
		other := toks[words[r.Intn(len(words))]]
		if other != tok && kindOf(other) == kindOf(tok) {
			return other
		}
	}
	return tok
}

func kindOf(tok string) byte {
	switch c := tok[0]; {
	case c >= '0' && c <= '9' || c == '-':
		return '0'
	case c >= 'a' && c <= 'z':
		return 'a'
	default:
		return c
	}
}

// parseOrNil hides the parser's panics, of which it has many; they are not ours.
func parseOrNil(text string) (m *ir.Module) {
	defer func() {
		if recover() != nil {
			m = nil
		}
	}()
	m, err := asm.ParseString("fuzz.ll", text)
	if err != nil {
		return nil
	}
	return m
}
