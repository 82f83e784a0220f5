package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

// frontLimit is how large BENCHMARKS.md may be: a page that is read.
const frontLimit = 15 << 10

// sections of BENCHMARKS.md, in order. A section without measurements writes nothing.
var sections = []func(*page){
	(*page).preamble, (*page).summary, (*page).repeat, (*page).generated, (*page).planted, (*page).index,
	(*page).agreement, (*page).checks, (*page).rest,
}

func frontPage(m *measurements) ([]byte, error) {
	p := &page{measurements: m}
	for _, write := range sections {
		write(p)
	}
	if p.Len() > frontLimit {
		return nil, fmt.Errorf("BENCHMARKS.md has %d bytes, more than the %d of a page that is read: move a section to a page in %s", p.Len(), frontLimit, folder)
	}
	return p.Bytes(), nil
}

const preambleText = `# Benchmarks

How fast minfc's kernels are, beside what, over which input. ` + "`go run ./tools/benchreport`" + ` writes this page from the measurements in
[docs/bench](docs/bench); a date in a table links to the file that a row comes from. Code has two generations: ` + "`sm_80`" + `, for Ampere and every later
GPU, and ` + "`sm_90a`" + `, for Hopper alone.

**Machine.** %s. The card sits at its power limit during attention, so clocks move: a ratio within one
process repeats within a few per cent%s, absolute times drift further.

**Method.** All kernels of a case run in one process, in random order in each round; times are medians. Errors are against float64.
[docs/measuring.md](docs/measuring.md) has the details, [docs/sm90.md](docs/sm90.md) and [docs/sm80.md](docs/sm80.md) say where the time goes.
%s%s`

func (p *page) preamble() {
	fmt.Fprintf(p, preambleText, strings.Join(p.machines(), "; "), p.repeats(), p.versions(), p.ages())
}

// versions says which libraries the peers are from.
func (p *page) versions() string {
	found := map[string]bool{}
	for _, r := range p.reports {
		if r.Tool == bench.ToolPeers {
			found[r.Version] = true
		}
	}
	if len(found) == 0 {
		return ""
	}
	return fmt.Sprintf("Peers are from %s.\n", strings.Join(slices.Sorted(maps.Keys(found)), "; "))
}

// ages says which measurements may be of older code.
func (p *page) ages() string {
	dates := p.dates()
	if len(dates) < 2 {
		return ""
	}
	return fmt.Sprintf("\n**Age.** The newest measurements are of %s, the oldest of %s. A row shows the code of its date; kernels have changed in between.\n", dates[len(dates)-1], dates[0])
}

// summary says between which bounds the ratios of the table of whole calls lie.
func (p *page) summary() {
	list := p.comparisons()
	if len(list) == 0 {
		return
	}
	p.WriteString("\n## What is faster than what\n\nEach line has the rows of the [table of whole calls](#whole-calls-on-generated-inputs) that are shortest and longest for another kernel: how many times\n" +
		"as long as minfc it takes. Where pairs are left out the density stands beside, because it is most of the ratio.\n\n")
	var groups []string
	spans := map[string][]comparison{}
	for _, c := range list {
		g := fmt.Sprintf("`%s`, %s", c.target, c.kind())
		if spans[g] == nil {
			groups = append(groups, g)
		}
		spans[g] = append(spans[g], c)
	}
	for _, g := range groups {
		var parts []string
		for _, name := range peerColumns(spans[g]) {
			parts = append(parts, peerTitle(name)+" takes "+span(spans[g], name))
		}
		fmt.Fprintf(p, "- %s: %s.\n", g, strings.Join(parts, "; "))
	}
}

// span is the least and the largest ratio to a peer, each with its density where pairs are left out.
func span(list []comparison, name string) string {
	var with []comparison
	for _, c := range list {
		if _, ok := c.times[name]; ok {
			with = append(with, c)
		}
	}
	compare := func(a, b comparison) int { return cmp.Compare(a.times[name].value, b.times[name].value) }
	low, high := slices.MinFunc(with, compare), slices.MaxFunc(with, compare)
	if len(with) == 1 {
		return low.at(name)
	}
	return low.at(name) + " to " + high.at(name)
}

func (c comparison) at(name string) string {
	if c.density == 1 {
		return c.times[name].String()
	}
	return fmt.Sprintf("%s (density %.3g%%)", c.times[name], 100*c.density)
}

const repeatText = `
## How to repeat it

    bench/kernels.sh                                     # needs Go; the rest needs the GPU, and torch for the peers
    python3 bench/interleave.py --title 'sm_90a code: speed' --json docs/bench/sm90_speed.json @bench/sm90_speed.cases
    python3 bench/interleave.py --title 'sm_90a code: lists' --json docs/bench/sm90_lists.json @bench/sm90_lists.cases
    bench/dynamic.sh sm_90a docs/bench                   # lists that the data chooses, and planted ones
    python3 bench/peers.py --minfc bin/minfc dense a_shape --seqlen 32k,128k,1m --heads 8 --kv-heads 2 --json docs/bench/h200_peers.json
    go run ./tools/benchreport

Each file holds the command that made it. For ` + "`sm_80`" + ` code put sm80 and sm_80 in these commands.
`

func (p *page) repeat() { p.WriteString(repeatText) }

const generatedText = `
## Whole calls on generated inputs

A ratio is the other's time over minfc's: above 1, minfc is faster. Density is the share of the pairs of dense attention that the call keeps. Inputs are
those of [docs/workloads.md](docs/workloads.md), or "random" with normal values; the type is bf16 unless D names another. Calls whose lists the data
chooses include the index stage, and stand beside *dense* attention: minfc's own in the same process, or, marked *, dense calls of other runs by time
a head, the fastest one where several files have it. [More head dims and patterns](docs/bench/kernels.md).

`

func (p *page) generated() {
	list := p.comparisons()
	if len(list) == 0 {
		return
	}
	p.WriteString(generatedText)
	columns := peerColumns(list)
	head := []string{"code", "call", "input", "length", "heads", "D", "density %", "ms"}
	for _, c := range columns {
		head = append(head, peerTitle(c))
	}
	cells := [][]string{append(head, "measured")}
	for _, c := range list {
		line := []string{c.target, c.pattern, c.input, bench.Length(c.length), c.heads, short(c.dim), fmt.Sprintf("%.3g", 100*c.density),
			fmt.Sprintf("%.4g", c.ms)}
		for _, name := range columns {
			text := ""
			if r, ok := c.times[name]; ok {
				text = r.String()
			}
			line = append(line, text)
		}
		cells = append(cells, append(line, p.source(c.file, c.date)))
	}
	writeTable(&p.Buffer, cells)
}

// short is a head dim and type without the usual type.
func short(dim string) string { return strings.TrimSuffix(dim, " bf16") }

// peerColumns are the peers of the list: dense attention of others, then whatever else was measured, our own dense kernel last.
func peerColumns(list []comparison) []string {
	found := map[string]bool{}
	for _, c := range list {
		for name := range c.times {
			found[name] = true
		}
	}
	var out []string
	for _, name := range []string{flash2, cudnn} {
		if found[name] {
			out = append(out, name)
		}
	}
	last := found[ownDense]
	for _, name := range []string{flash2, cudnn, ownDense} {
		delete(found, name)
	}
	out = append(out, slices.Sorted(maps.Keys(found))...)
	if last {
		out = append(out, ownDense)
	}
	return out
}

func peerTitle(name string) string {
	if title, ok := peerNames[name]; ok {
		return title
	}
	return name
}

// source is a date that links to its file. The links stand at the end of the page, by number: tables stay narrow in the text.
func (p *page) source(file, date string) string {
	at := slices.Index(p.linked, file)
	if at < 0 {
		at, p.linked = len(p.linked), append(p.linked, file)
	}
	return fmt.Sprintf("[%s][%d]", date, at+1)
}

func (p *page) links() {
	for i, file := range p.linked {
		if i == 0 {
			p.WriteString("\n")
		}
		fmt.Fprintf(p, "[%d]: %s/%s\n", i+1, folder, file)
	}
}
