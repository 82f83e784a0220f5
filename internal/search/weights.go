package search

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
)

// Weights say how much the error of a head counts beside other heads whose outputs are as large, [layers][heads]; none is below 0.
type Weights [][]float64

// ReadWeights reads a JSON list with an entry for each layer: a list of the weights of its heads, or one number for all of them.
func ReadWeights(path string, layers, heads int) (Weights, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: want a JSON list of the weights of each layer: %w", path, err)
	}
	var out Weights
	for i, text := range list {
		var all float64
		own := []float64(nil)
		if json.Unmarshal(text, &all) == nil {
			for range heads {
				own = append(own, all)
			}
		} else if err := json.Unmarshal(text, &own); err != nil {
			return nil, fmt.Errorf("%s: layer %d: want a number, or a list of a number for each head: %w", path, i, err)
		}
		out = append(out, own)
	}
	if err := out.check(layers, heads); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// of is the weight of a head; without weights all are alike.
func (w Weights) of(layer, head int) float64 {
	if w == nil {
		return 1
	}
	return w[layer][head]
}

func (w Weights) check(layers, heads int) error {
	if w == nil {
		return nil
	}
	if len(w) != layers {
		return fmt.Errorf("there are weights of %d layers, the inputs have %d", len(w), layers)
	}
	some := false
	for i, layer := range w {
		if len(layer) != heads {
			return fmt.Errorf("layer %d has %d weights, the inputs have %d query heads", i, len(layer), heads)
		}
		for h, x := range layer {
			if !(x >= 0) || math.IsInf(x, 0) {
				return fmt.Errorf("layer %d, head %d: the weight is %v, want a number of at least 0", i, h, x)
			}
			some = some || x > 0
		}
	}
	if !some {
		return fmt.Errorf("all weights are 0: every plan would be as good")
	}
	return nil
}
