package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// JSON writes the plan in this project's own format, one head a line. Heads without an entry stay without one.
func (p *Plan) JSON() ([]byte, error) {
	if err := p.checkDefault(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"schema\": %d,\n", SchemaVersion)
	if p.Model != "" {
		fmt.Fprintf(&b, "  \"model\": %s,\n", quoted(p.Model))
	}
	if p.Heads != 0 {
		fmt.Fprintf(&b, "  \"heads\": %d,\n", p.Heads)
	}
	if p.HeadsFrom != 0 {
		fmt.Fprintf(&b, "  \"heads_from\": %d,\n", p.HeadsFrom)
	}
	if p.Search != nil {
		fmt.Fprintf(&b, "  \"search\": %s,\n", objectOf(p.Search))
	}
	b.WriteString("  \"layers\": ")
	err := p.write(&b, "  ", func(h Head) (string, error) { return h.own(), nil })
	b.WriteString("\n}\n")
	return b.Bytes(), err
}

// MInference writes the plan as a file of MInference. What such files cannot say is an error that names it.
func (p *Plan) MInference() ([]byte, error) {
	if err := p.checkDefault(); err != nil {
		return nil, err
	}
	if p.Model != "" {
		return nil, fmt.Errorf("MInference's files have no place for the name of the model, %q: take it out of the plan", p.Model)
	}
	if p.Heads != 0 || p.HeadsFrom != 0 {
		return nil, fmt.Errorf("MInference's files have no place for the number of heads, %d from head %d on: take it out of the plan", p.Heads, p.HeadsFrom)
	}
	var b bytes.Buffer
	err := p.write(&b, "", Head.minference)
	b.WriteString("\n")
	return b.Bytes(), err
}

// checkDefault refuses what neither format can say: its readers take the same default.
func (p *Plan) checkDefault() error {
	want := "vertical_slash vertical=1000 slash=6096"
	if p.Default.Pattern == nil || p.Default.String() != want {
		return fmt.Errorf("plans have no place for a default other than %s: write every head", want)
	}
	return nil
}

// write prints the list of layers.
func (p *Plan) write(b *bytes.Buffer, indent string, entry func(h Head) (string, error)) error {
	var errs []error
	b.WriteString("[")
	for i, layer := range p.Layers {
		comma(b, i)
		fmt.Fprintf(b, "\n%s  {", indent)
		for j, h := range slices.Sorted(maps.Keys(layer)) {
			text, err := entry(layer[h])
			if err != nil && len(errs) < maxNamed {
				errs = append(errs, fmt.Errorf("layer %d, head %d: %w", i, h, err))
			}
			comma(b, j)
			fmt.Fprintf(b, "\n%s    \"%d\": %s", indent, h, text)
		}
		fmt.Fprintf(b, "\n%s  }", indent)
	}
	fmt.Fprintf(b, "\n%s]", indent)
	return errors.Join(errs...)
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteString(",")
	}
}

// quoted is a JSON string. Go's encoder cannot fail on a string.
func quoted(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// own is the head in this project's format, parameters in the pattern's order.
func (h Head) own() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"pattern\": %s, \"params\": {", quoted(h.Pattern.Name))
	n := 0
	for _, p := range h.Pattern.Params {
		if v, given := h.Params[p.Name]; given {
			if n++; n > 1 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s: %d", quoted(p.Name), v)
		}
	}
	b.WriteString("}")
	if h.Score != 0 {
		fmt.Fprintf(&b, ", \"score\": %s", number(h.Score))
	}
	if h.Found != nil {
		fmt.Fprintf(&b, ", \"search\": %s", objectOf(h.Found))
	}
	return b.String() + "}"
}

// minference is the head as [pattern, number, number, score].
func (h Head) minference() (string, error) {
	m, names, ok := findMInference(func(m minferencePattern) bool { return m.ours == h.Pattern.Name })
	if !ok {
		return "", fmt.Errorf("MInference has no pattern like %s, it has %q", h.Pattern.Name, names)
	}
	values, err := h.Values()
	if err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(m.fixed)) {
		if values[name] != m.fixed[name] {
			return "", fmt.Errorf("%s of MInference's %s is always %d, the plan has %d", name, m.name, m.fixed[name], values[name])
		}
	}
	numbers := [2]int64{1000, 6096} // where MInference does not look
	for i, param := range m.params {
		if param != "" {
			numbers[i] = values[param]
		}
	}
	return fmt.Sprintf("[%s, %d, %d, %s]", quoted(m.name), numbers[0], numbers[1], number(h.Score)), nil
}
