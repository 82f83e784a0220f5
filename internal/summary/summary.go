// Package summary says what one run did: for people, one fact a line, and as JSON.
package summary

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/minfc/minfc/internal/pairs"
)

// Run is what a run did. Parts that a run does not have are empty.
type Run struct {
	Pattern  string           `json:"pattern,omitempty"`
	Params   map[string]int64 `json:"params,omitempty"`
	Plan     *Plan            `json:"plan,omitempty"`
	Device   string           `json:"device"`         // "cuda:0 NVIDIA H200"
	Emulated bool             `json:"emulated"`       // the time is the emulator's and says nothing about a GPU
	Target   string           `json:"target"`         // of the code that ran
	HeadDim  int              `json:"head_dim"`       // elements
	DType    string           `json:"dtype"`          // "bf16" or "f16"
	Tile     []int            `json:"tile,omitempty"` // queries and keys of a step; heads of a plan have different ones
	Q        []int            `json:"q"`              // shape
	KV       []int            `json:"kv"`             // shape of k and v
	QOffset  int              `json:"q_offset"`
	Scale    float64          `json:"scale"`
	Density  Density          `json:"density"`
	Recall   *Recall          `json:"recall,omitempty"`
	Skipped  *Skipped         `json:"skipped,omitempty"`
	Millis   float64          `json:"milliseconds"`
	Routes   []Route          `json:"routes,omitempty"`
	Check    *Verdict         `json:"check,omitempty"`
	Chosen   *Verdict         `json:"chosen,omitempty"`
	Model    *Model           `json:"model,omitempty"`

	Label   string         `json:"-"` // the pattern and its parameters in their own order
	Shape   string         `json:"-"` // q, k and v in words
	NoGPU   bool           `json:"-"` // the emulator was taken because there is no GPU
	Runs    string         `json:"-"` // the GPUs that the code is for
	Picture *pairs.Picture `json:"-"`
	Try     []string       `json:"-"` // commands to go on with
}

// Plan is the layer of a head plan that ran.
type Plan struct {
	Path      string   `json:"path"`
	Layer     int      `json:"layer"`
	Heads     int      `json:"heads"`
	HeadsFrom int      `json:"heads_from,omitempty"` // number in the plan's model of the first of them
	Launches  int      `json:"launches"`
	Patterns  []string `json:"patterns"` // "dense: heads 0-3"
}

// heads says how many heads ran, and which of the model's where these are not all.
func (p *Plan) heads() string {
	if p.HeadsFrom == 0 {
		return fmt.Sprintf("%d heads", p.Heads)
	}
	return fmt.Sprintf("%d heads from head %d on", p.Heads, p.HeadsFrom)
}

// Density is the kept share of the pairs that dense attention has; docs/measuring.md defines it.
type Density struct {
	Of      string  `json:"of"` // "causal" pairs or "all"
	Value   float64 `json:"value"`
	Sampled int     `json:"sampled_rows,omitempty"` // query rows that were looked at, where not all were
	Rows    int     `json:"-"`
}

// Route says which heads ran sparse or dense.
type Route struct {
	Kind string `json:"kind"` // "sparse" or "dense"
	Why  string `json:"why"`
}

// Verdict is the outcome of a comparison.
type Verdict struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

func (v Verdict) String() string {
	if v.OK {
		return "ok: " + v.Text
	}
	return "wrong: " + v.Text
}

// Model is what the cost model expects of the pattern on a GPU.
type Model struct {
	Machine string  `json:"machine"`
	Target  string  `json:"target"`
	SeqLen  int     `json:"seqlen"`
	Heads   int     `json:"heads"`
	LowMS   float64 `json:"low_ms"`  // over the cheapest lists that the data could choose
	HighMS  float64 `json:"high_ms"` // over the dearest
	DenseMS float64 `json:"dense_ms"`
}

func (m Model) String() string {
	where := fmt.Sprintf("%dK tokens, %d heads on an %s: ", m.SeqLen>>10, m.Heads, m.Machine)
	if m.HighMS > 1.01*m.LowMS {
		return where + fmt.Sprintf("%.3g to %.3g ms as the data decides, dense %.3g ms", m.LowMS, m.HighMS, m.DenseMS)
	}
	switch faster := m.DenseMS / m.LowMS; {
	case faster > 1.005:
		return where + fmt.Sprintf("%.3g ms, %.3gx faster than dense (%.3g ms)", m.LowMS, faster, m.DenseMS)
	case faster < 0.995:
		return where + fmt.Sprintf("%.3g ms, %.3gx slower than dense (%.3g ms)", m.LowMS, 1/faster, m.DenseMS)
	}
	return where + fmt.Sprintf("%.3g ms, as long as dense", m.LowMS)
}

// width is how long the lines of a run with a picture become; other lines say all.
const width = 100

// Lines is the run for people.
func (r *Run) Lines() []string {
	var out []string
	line := func(name, format string, args ...any) {
		text := fmt.Sprintf("%-9s"+format, append([]any{name}, args...)...)
		if r.Picture != nil {
			text = fit(text, width)
		}
		out = append(out, text)
	}
	if r.Plan == nil {
		line("pattern", "%s", r.Label)
	} else {
		line("plan", "%s, layer %d, %s, launches: %d", r.Plan.Path, r.Plan.Layer, r.Plan.heads(), r.Plan.Launches)
		for _, p := range r.Plan.Patterns {
			line("pattern", "%s", p)
		}
	}
	line("device", "%s", r.device())
	line("kernel", "%s", r.kernel())
	line("shape", "%s, q_offset %d, scale %.6g", r.Shape, r.QOffset, r.Scale)
	for _, x := range r.Routes {
		line("route", "%s: %s", x.Kind, x.Why)
	}
	line("density", "%s", r.Density)
	if r.Recall != nil {
		line("recall", "%s", r.Recall)
		for _, text := range r.Recall.byHead() {
			line("", "%s", text)
		}
	}
	if r.Skipped != nil {
		line("skipped", "%s", r.Skipped)
		for _, text := range r.Skipped.byHead() {
			line("", "%s", text)
		}
	}
	if r.Picture == nil {
		line("time", "%.3f ms", r.Millis)
	}
	for _, v := range []struct {
		name string
		*Verdict
	}{{"check", r.Check}, {"chosen", r.Chosen}} {
		if v.Verdict != nil {
			line(v.name, "%s", v.Verdict)
		}
	}
	if r.Model != nil {
		line("model", "%s", r.Model)
	}
	return append(out, r.picture()...)
}

func (r *Run) device() string {
	text := r.Device
	if r.NoGPU {
		text += ", no GPU here"
	}
	if r.Picture != nil { // room for the picture: no line of its own
		text += "; " + shortMillis(r.Millis)
	}
	return text
}

// shortMillis is a time in three digits or more.
func shortMillis(ms float64) string {
	if ms >= 100 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.3g ms", ms)
}

func (r *Run) kernel() string {
	text := fmt.Sprintf("%s, head dim %d, %s", r.Target, r.HeadDim, r.DType)
	if len(r.Tile) == 2 {
		text += fmt.Sprintf(", tile %dx%d", r.Tile[0], r.Tile[1])
	}
	return text
}

func (d Density) String() string {
	text := fmt.Sprintf("%.4g %% of %s pairs", 100*d.Value, map[string]string{"causal": "the causal", "all": "all"}[d.Of])
	if d.Sampled > 0 {
		text += fmt.Sprintf(" (from %d of %d rows)", d.Sampled, d.Rows)
	}
	return text
}

// picture is the drawing, with what it shows and what to try next beside it.
func (r *Run) picture() []string {
	if r.Picture == nil {
		return nil
	}
	beside := []string{"queries down, keys across", fmt.Sprintf("a dot: %.0f queries x %.0f keys, some kept", r.Picture.DotRows, r.Picture.DotKeys),
		fmt.Sprintf("compiled for %s (%s)", r.Runs, r.Target), ""}
	for i, t := range r.Try {
		name := ""
		if i == 0 {
			name = "try"
		}
		beside = append(beside, fmt.Sprintf("%-4s%s", name, t))
	}
	var out []string
	for i, drawn := range r.Picture.Lines {
		name, text := "", ""
		if i == 0 {
			name = "picture"
		}
		if i < len(beside) {
			text = beside[i]
		}
		out = append(out, strings.TrimRight(fmt.Sprintf("%-9s%s   %s", name, drawn, text), " "))
	}
	return out
}

// fit cuts a line that is too long behind its last comma that fits.
func fit(line string, most int) string {
	if len(line) <= most {
		return line
	}
	if i := strings.LastIndex(line[:most], ", "); i > 0 {
		return line[:i]
	}
	return line[:most]
}

// Write prints the lines.
func (r *Run) Write(w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(r.Lines(), "\n")+"\n")
	return err
}

// JSON is the run as one JSON object.
func (r *Run) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: summary: %w", err)
	}
	return append(text, '\n'), nil
}
