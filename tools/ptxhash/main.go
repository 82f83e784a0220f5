// Command ptxhash prints a hash of every kernel of the pattern library, so that two versions of the compiler can be compared: a line a
// kernel of head dims 64, 128 and 256, both targets. Names of parameters do not count, nor does the order in which modules lie in an artifact.
//
//	go run ./tools/ptxhash > new.txt; git stash; go run ./tools/ptxhash > old.txt; diff old.txt new.txt
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/patterns"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ptxhash:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, name := range patterns.Names() {
		file, src, _ := patterns.Source(name)
		for _, target := range compile.Targets() {
			for _, dim := range []int{64, 128, 256} {
				a, err := compile.Source(file, src, "", compile.Options{Target: target, DType: "bf16", HeadDim: dim}, nil)
				if err != nil {
					return fmt.Errorf("%s for %s, head dim %d: %w", name, target, dim, err)
				}
				var lines []string
				for _, ptx := range a.Modules {
					text := anonymous(string(ptx))
					lines = append(lines, fmt.Sprintf("%s %s d%d %s %x", name, target, dim, entry(text), sha256.Sum256([]byte(text))))
				}
				slices.Sort(lines)
				fmt.Println(strings.Join(lines, "\n"))
			}
		}
	}
	return nil
}

var (
	entryLine = regexp.MustCompile(`\.entry ([a-zA-Z0-9_$]+)`)
	parameter = regexp.MustCompile(`\.param [^,\n]*?([a-zA-Z0-9_$]+)(\[[0-9]+\])?[,\n]`)
)

func entry(ptx string) string {
	if m := entryLine.FindStringSubmatch(ptx); m != nil {
		return m[1]
	}
	return "none"
}

// anonymous numbers the parameters of a kernel in place of naming them.
func anonymous(ptx string) string {
	head, body, _ := strings.Cut(ptx, "{")
	for i, m := range parameter.FindAllStringSubmatch(head, -1) {
		name := regexp.MustCompile(`\b` + regexp.QuoteMeta(m[1]) + `\b`)
		head, body = name.ReplaceAllString(head, fmt.Sprintf("param%d", i)), name.ReplaceAllString(body, fmt.Sprintf("param%d", i))
	}
	return head + "{" + body
}
