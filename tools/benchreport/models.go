package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

// The page about models: what a prefill takes end to end, batches of different lengths, what a call from Python costs the host. Its files
// are what programs printed, a title and the commands first.

func (p *page) models() error {
	if err := p.prefill("prefill.txt"); err != nil {
		return err
	}
	p.layers()
	p.ragged("ragged.txt")
	p.given("given.txt")
	if err := p.parallel("parallel.txt"); err != nil {
		return err
	}
	return p.pythonHost("python_host.txt")
}

// section writes the heading of a file's section: its title, the rest of its first lines, a link. It says whether there is one.
func (p *page) section(heading, file string) bool {
	text := p.printed[file]
	if text == "" {
		return false
	}
	fmt.Fprintf(p, "\n## %s\n\n", heading)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "Benchmark") || strings.HasPrefix(line, "{") {
			break
		}
		if command, is := strings.CutPrefix(line, "$ "); is {
			line = "    " + command
		} else {
			line += ".\n"
		}
		fmt.Fprintln(p, line)
	}
	fmt.Fprintf(p, "\n[All figures](%s).\n\n", file)
	return true
}

// jsonLines reads the lines of a file that are JSON objects.
func jsonLines[T any](text string) (out []T, err error) {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var x T
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// prefillRow is a line of examples/hf_prefill.py.
type prefillRow struct {
	Tokens   int
	Subject  string
	Seconds  float64
	Derived  string
	Attended string
}

func (p *page) prefill(file string) error {
	rows, err := jsonLines[prefillRow](p.printed[file])
	if err != nil || !p.section("Prefill of a model, in seconds", file) {
		return err
	}
	at, lengths, subjects, attended := map[string]prefillRow{}, []int{}, []string{}, ""
	for _, r := range rows {
		if r.Seconds == 0 {
			continue
		}
		at[fmt.Sprint(r.Tokens, r.Subject)] = r
		if !slices.Contains(lengths, r.Tokens) {
			lengths = append(lengths, r.Tokens)
		}
		if !slices.Contains(subjects, r.Subject) {
			subjects = append(subjects, r.Subject)
			attended += fmt.Sprintf("- %s attends %s\n", r.Subject, r.Attended)
		}
	}
	slices.Sort(lengths)
	cells := [][]string{append([]string{"tokens"}, append(subjects, "plan over FA2", "plan over cuDNN")...)}
	for _, n := range lengths {
		line := []string{bench.Length(n)}
		of := func(subject string) prefillRow { return at[fmt.Sprint(n, subject)] }
		for _, s := range subjects {
			text := fmt.Sprintf("%.3f", of(s).Seconds)
			if of(s).Derived != "" {
				text = fmt.Sprintf("%.1f*", of(s).Seconds)
			}
			line = append(line, text)
		}
		plan := of("minfc plan").Seconds
		for _, s := range []string{"stock FA2", "stock cuDNN"} {
			line = append(line, fmt.Sprintf("%.2fx", of(s).Seconds/plan))
		}
		cells = append(cells, line)
	}
	writeTable(&p.Buffer, cells)
	fmt.Fprintf(p, "\n*: derived, one decoder layer times 32. What was attended:\n\n%s", attended)
	return nil
}

func (p *page) ragged(file string) {
	if !p.section("Batches of different lengths, in milliseconds", file) {
		return
	}
	cells := [][]string{{"pattern", "16 sequences of", "a call each", "one call", "times as fast"}}
	for _, x := range benchmarks(p.printed[file]) {
		name := strings.Split(x.name, "/")
		cells = append(cells, []string{name[1], strings.TrimPrefix(name[2], "16x"), fmt.Sprintf("%.4g", x.values["apart-ms"]),
			fmt.Sprintf("%.4g", x.values["ragged-ms"]), fmt.Sprintf("%.2f", x.values["apart/ragged"])})
	}
	slices.SortStableFunc(cells[1:], func(a, b []string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	writeTable(&p.Buffer, cells)
}

func (p *page) given(file string) {
	if !p.section("Lists that the caller gives, in milliseconds", file) {
		return
	}
	cells := [][]string{{"tokens", "vertical / slash", "slots of keys %", "Vertical-Slash's attention", "given", "given, sm_80 code", "given / own"}}
	for _, x := range benchmarks(p.printed[file]) {
		name := strings.Split(x.name, "/")
		line := []string{name[1], strings.Replace(name[2], "_", " / ", 1)}
		for _, unit := range []string{"%slots-of-keys", "chosen-ms", "given-ms", "given-sm80-ms", "given/chosen"} {
			line = append(line, fmt.Sprintf("%.3g", x.values[unit]))
		}
		cells = append(cells, line)
	}
	writeTable(&p.Buffer, cells)
}

// hostTime is a median of bench/python_host.py, in microseconds.
type hostTime struct {
	US    float64
	First float64 `json:"first_us"` // of the first call after a wait
}

// hostRow is a line of bench/python_host.py.
type hostRow struct {
	Name, Case          string
	Bare, Op, Attention hostTime
	Replay              hostTime
	Layers              hostTime `json:"one_of_32"`
}

func (p *page) pythonHost(file string) error {
	rows, err := jsonLines[hostRow](p.printed[file])
	if err != nil || !p.section("A call from Python, in microseconds of the host", file) {
		return err
	}
	of := map[string]*hostRow{}
	var cases []string
	for _, r := range rows {
		switch {
		case r.Name == "host" && r.Bare.US > 0:
			cases, of[r.Case] = append(cases, r.Case), &r
		case r.Name == "graph" && of[r.Case] != nil:
			of[r.Case].Replay, of[r.Case].Layers = r.Replay, r.Layers
		case r.Name == "graph" && r.Replay.US > 0:
			cases, of[r.Case] = append(cases, r.Case), &r
		}
	}
	cells := [][]string{{"call", "the library", "torch op", "minfc.attention", "first after a wait: the library", "minfc.attention", "a graph of one", "one of 32 in a graph"}}
	for _, c := range cases {
		r := of[c]
		line := []string{c}
		for _, us := range []float64{r.Bare.US, r.Op.US, r.Attention.US, r.Bare.First, r.Attention.First, r.Replay.US, r.Layers.US} {
			line = append(line, micros(us))
		}
		cells = append(cells, line)
	}
	writeTable(&p.Buffer, cells)
	return nil
}

// micros is a time in microseconds, nothing for one that was not measured.
func micros(us float64) string {
	if us == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", us)
}
