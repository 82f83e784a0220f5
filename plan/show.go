package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// shown is a head as ShowJSON writes it.
type shown struct {
	Layer   int              `json:"layer"`
	Head    int              `json:"head"`
	Score   float64          `json:"score"`
	Pattern string           `json:"pattern"`
	Params  map[string]int64 `json:"params"` // all of the pattern's
	Found   *Found           `json:"search,omitempty"`
}

// ShowJSON lists the heads of the layers [first, end) with the values of all parameters, and what other heads run.
func (p *Plan) ShowJSON(first, end int) ([]byte, error) {
	heads, err := []shown{}, error(nil)
	show := func(layer, head int, h Head) (s shown) {
		values, e := h.Values()
		if err == nil {
			err = e
		}
		return shown{layer, head, h.Score, h.Pattern.Name, values, h.Found}
	}
	for i := first; i < end; i++ {
		for _, h := range slices.Sorted(maps.Keys(p.Layers[i])) {
			heads = append(heads, show(i, h, p.Layers[i][h]))
		}
	}
	others := show(-1, -1, p.Default)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(struct {
		Model  string  `json:"model,omitempty"`
		Layers int     `json:"layers"`
		Heads  []shown `json:"heads"`
		Others shown   `json:"others"` // of heads without an entry; its numbers are -1
	}{p.Model, len(p.Layers), heads, others}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: plan: %w", err)
	}
	return append(text, '\n'), nil
}
