package cost

import "container/heap"

// simulated is how many row tiles are handed out one by one: the last ones, which decide how evenly the work ends. Those
// before fill all multiprocessors evenly. It is several for each slot of any GPU.
const simulated = 4096

// crew is the multiprocessors and what they make of the blocks they hold.
type crew struct {
	size   int       // multiprocessors
	speeds []float64 // of one block, by the number that share the multiprocessor, less one; all of them together: 1
}

// makespan is when the last multiprocessor is done, in the unit of price, the time that the row tile takes of a
// multiprocessor that is full of blocks. Blocks start in the order of the grid, one head's row tiles after the other's,
// wherever one has ended. When no row tiles are left, the blocks that run have the multiprocessor to themselves.
func (c crew) makespan(rows []rowTile, heads int, price func(rowTile) float64) float64 {
	total := 0.0
	for _, r := range rows {
		total += price(r)
	}
	jobs := heads * len(rows)
	next := max(0, jobs-simulated)
	before := total * float64(next/len(rows))
	for _, r := range rows[:next%len(rows)] {
		before += price(r)
	}
	take := func(p *processor) bool {
		if next == jobs {
			return false
		}
		p.take(price(rows[next%len(rows)]))
		next++
		return true
	}
	return c.run(before/float64(c.size), take)
}

// run gives every multiprocessor its first blocks at start, one each in turn, and then a new one for each that ends.
func (c crew) run(start float64, take func(*processor) bool) float64 {
	free := make(processors, c.size)
	for i := range free {
		free[i] = processor{now: start, speeds: c.speeds}
	}
	for range c.speeds {
		for i := range free {
			take(&free[i])
		}
	}
	for i := range free {
		free[i].plan()
	}
	heap.Init(&free)
	end := start
	for len(free[0].left) > 0 {
		p := &free[0]
		end = p.finish()
		take(p)
		p.plan()
		heap.Fix(&free, 0)
	}
	return end
}

// processor is a multiprocessor and its blocks.
type processor struct {
	now    float64
	left   []float64 // work left of each block
	next   int       // the block that ends first
	at     float64   // when it ends
	speeds []float64
}

func (p *processor) take(work float64) { p.left = append(p.left, work) }

// never is later than any end.
const never = 1e300

// plan finds the block that ends first.
func (p *processor) plan() {
	p.at, p.next = never, 0
	if len(p.left) == 0 {
		return
	}
	for i, w := range p.left {
		if w < p.left[p.next] {
			p.next = i
		}
	}
	p.at = p.now + p.left[p.next]/p.speeds[len(p.left)-1]
}

// finish goes to the end of that block, removes it and returns the time.
func (p *processor) finish() float64 {
	done := p.left[p.next]
	for i := range p.left {
		p.left[i] -= done
	}
	last := len(p.left) - 1
	p.left[p.next] = p.left[last]
	p.left, p.now = p.left[:last], p.at
	return p.now
}

// processors is a heap by the next end.
type processors []processor

func (s processors) Len() int           { return len(s) }
func (s processors) Less(i, j int) bool { return s[i].at < s[j].at }
func (s processors) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *processors) Push(any)          {}
func (s *processors) Pop() any          { return nil }
