package ir

import "fmt"

// Runs of distances. A sum over runs of n cuts the distances into runs of n neighbours, from distance 0 on: run g has the distances
// g*n .. g*n+n-1, as far as there are that many, and is worth the sum of what they are worth. A choice among runs takes or leaves a run
// whole, and its numbers count runs. What it chose are the distances of its runs, a set of distances like any other.

// Sizes of a run: multiples of RunUnit up to MostRun.
const (
	RunUnit = 16
	MostRun = 128
)

// CheckRun refuses numbers of distances that a run cannot have.
func CheckRun(n int64) error {
	if n < RunUnit || n > MostRun || n%RunUnit != 0 {
		return fmt.Errorf("a run has %d distances, want a multiple of %d from %d to %d", n, RunUnit, RunUnit, MostRun)
	}
	return nil
}

// CheckRuns refuses sizes of runs that const parameters with these values give.
func CheckRuns(defs []IndexDef, values map[string]int64) error {
	for _, d := range defs {
		x, ok := d.Value.(parameterized)
		if !ok {
			continue
		}
		for _, p := range x.numbers().runs {
			n, err := p.Eval(values)
			if err == nil {
				err = CheckRun(n)
			}
			if err != nil {
				return fmt.Errorf("index %q: %w%s", d.Name, err, usedValues(p, values))
			}
		}
	}
	return nil
}

// RunSize is how many neighbouring distances the choice called name takes or leaves together: 1 for a choice of single distances, of
// columns and of blocks. values has the const parameters; the definitions of a schedule need none.
func RunSize(defs []IndexDef, name string, values map[string]int64) int {
	found := map[string]Index{}
	for _, d := range defs {
		found[d.Name] = d.Value
	}
	choice, _ := found[name].(Select)
	if sum, ok := found[choice.Of].(Sum); ok && sum.Over == OverRuns {
		if n, err := sum.Run.Eval(values); err == nil && CheckRun(n) == nil {
			return int(n)
		}
	}
	return 1
}

// RunsOf are the runs of size distances that members, ascending distances below end, are made of; false if they are not whole runs.
func RunsOf(members []int, size, end int) (runs []int, whole bool) {
	for i := 0; i < len(members); {
		run := members[i] / size
		last := min((run+1)*size, end) - 1
		n := last + 1 - run*size
		if i+n > len(members) || members[i] != run*size || members[i+n-1] != last {
			return nil, false
		}
		runs, i = append(runs, run), i+n
	}
	return runs, true
}

// DistancesOf are the distances below end that runs of size distances are made of: RunsOf the other way round.
func DistancesOf(runs []int, size, end int) (out []int) {
	for _, g := range runs {
		for d := g * size; d < min((g+1)*size, end); d++ {
			out = append(out, d)
		}
	}
	return out
}

// MostTiles is how many tiles cover a run of size distances that lies apart from others (CoverTiles). Each neighbour that follows it takes
// one tile less, at least.
func MostTiles(size int) int { return 1 + (size+BlockSize-2)/BlockSize }

// inRuns adds distances up, each run in ascending order.
func (x sums) inRuns(run int) sums {
	out := sums{x.kind, make([]float64, (x.n+run-1)/run), run, x.n}
	for d, v := range x.values {
		out.values[d/run] += v
	}
	return out
}

// members are the columns or distances that chosen values stand for, ascending as these are.
func (x sums) members(chosen []int) []int {
	if x.run == 1 {
		return chosen
	}
	return DistancesOf(chosen, x.run, x.n)
}
