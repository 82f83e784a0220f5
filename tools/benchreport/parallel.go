package main

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/internal/bench"
)

// parallelRow is a line of bench/context_parallel.py or of bench/tensor_parallel.py.
type parallelRow struct {
	Name, Pattern, Plan string
	GPUs, Ranks, Tokens int
	OneMS               float64            `json:"one_ms"`
	AllMS               float64            `json:"all_ms"`
	OneS                float64            `json:"one_s"`
	AllS                float64            `json:"all_s"`
	SplitMS             float64            `json:"split_ms"`
	RanksMS             []float64          `json:"ranks_ms"`
	MovedMB             float64            `json:"moved_mb"`
	MaxDifference       float64            `json:"max_difference"`
	MaxLogit            float64            `json:"max_logit"`
	ClockMS             map[string]float64 `json:"clock_ms"`
	Same                bool
}

// parallel writes what several GPUs gave, and what follows for more of them.
func (p *page) parallel(file string) error {
	rows, err := jsonLines[parallelRow](p.printed[file])
	if err != nil || !p.section("Several GPUs", file) {
		return err
	}
	slices.SortStableFunc(rows, func(a, b parallelRow) int { return a.Tokens - b.Tokens })
	context := [][]string{{"context parallel", "tokens", "one GPU, ms", "two, ms", "times as fast", "a rank gets, MB", "largest difference of outputs"}}
	tensor := [][]string{{"tensor parallel", "tokens", "one GPU, ms", "two, ms", "each rank, ms", "times as fast", "same bits"}}
	for _, r := range rows {
		tokens := bench.Length(r.Tokens)
		switch r.Name {
		case "layer":
			context = append(context, []string{"a layer, " + r.Pattern, tokens, fmt.Sprintf("%.1f", r.OneMS), fmt.Sprintf("%.1f", r.AllMS),
				fmt.Sprintf("%.2f", r.OneMS/r.AllMS), fmt.Sprintf("%.0f", r.MovedMB), fmt.Sprint(r.MaxDifference)})
		case "model":
			context = append(context, r.model(tokens))
		case "attention":
			tensor = append(tensor, []string{"a layer, " + r.Plan, tokens, fmt.Sprintf("%.2f", r.OneMS), fmt.Sprintf("%.2f", r.SplitMS),
				fmt.Sprintf("%.2f", r.RanksMS), fmt.Sprintf("%.2f", r.OneMS/r.SplitMS), yes(r.Same)})
		}
	}
	writeTable(&p.Buffer, context)
	fmt.Fprintln(p)
	writeTable(&p.Buffer, tensor)
	p.moreGPUs(rows)
	return nil
}

// model is the row of a whole prefill, which one GPU may not have run.
func (r parallelRow) model(tokens string) []string {
	if r.OneS == 0 {
		return []string{"a model, plan", tokens, "not run", fmt.Sprintf("%.0f", 1e3*r.AllS), "", "", ""}
	}
	return []string{"a model, plan", tokens, fmt.Sprintf("%.0f", 1e3*r.OneS), fmt.Sprintf("%.0f", 1e3*r.AllS),
		fmt.Sprintf("%.2f", r.OneS/r.AllS), "", fmt.Sprintf("%v, of logits up to %.2f", r.MaxDifference, r.MaxLogit)}
}

func yes(x bool) string {
	if x {
		return "yes"
	}
	return "no"
}

// network is the rate of the links between hosts that is assumed: 400 Gb/s for each GPU.
const network = 50.0 // MB a millisecond

// moreGPUs predicts a layer of the plan on more GPUs from what two of them took. On W of them attention takes the Wth part of one's time; a
// rank gets W-1 of W parts of all keys and values, of which two ranks get half; what two took beside half of one's time stays.
func (p *page) moreGPUs(rows []parallelRow) {
	counts := []int{2, 4, 8, 16, 32, 64}
	head := []string{"tokens", "links"}
	for _, n := range counts {
		head = append(head, fmt.Sprintf("%d GPUs", n))
	}
	cells := [][]string{head}
	for _, r := range rows {
		if r.Name != "layer" || r.Pattern != "plan" || r.ClockMS["transfer"] == 0 {
			continue
		}
		rest := max(0, r.AllMS-r.OneMS/2)
		for _, link := range []struct {
			name string
			rate float64
		}{{"as measured", r.MovedMB / r.ClockMS["transfer"]}, {"50 GB/s", network}} {
			line := []string{bench.Length(r.Tokens), link.name}
			for _, n := range counts {
				gets := r.MovedMB * 2 * float64(n-1) / float64(n)
				took := max(r.OneMS/float64(n), gets/link.rate) + rest
				line = append(line, fmt.Sprintf("%.1f", r.OneMS/took))
			}
			cells = append(cells, line)
		}
	}
	fmt.Fprint(p, "\nPredicted, not measured: how many times as fast a layer of the plan is on more GPUs. Attention takes its share of one GPU's time; a rank gets\n"+
		"its share of all keys and values over links as fast as the transfers above were, or over a network of 50 GB/s for each GPU; what two GPUs\n"+
		"took beside half of one's time stays.\n\n")
	writeTable(&p.Buffer, cells)
}
