package search

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"github.com/minfc/minfc/plan"
)

// numbers are the values of a measurement as the state has them.
func (m measured) numbers() []float64 {
	return []float64{m.error2, m.mass, m.density, m.millis, m.lost}
}

func measuredOf(n []float64) measured { return measured{n[0], n[1], n[2], n[3], n[4]} }

// profile is what is known of a head without a candidate.
type profile struct {
	power   float64 // weighted mean square of its dense output
	needles float64 // mass of the keys that its retrieval rows look at
}

// read loads the samples of the next layers while a layer is measured.
type read struct {
	prompts []prompt
	err     error
}

func (s *searcher) reading(layer int) <-chan read {
	out := make(chan read, 1)
	go func() {
		var r read
		if layer < s.Source.Layers {
			r.prompts, r.err = s.Source.load(layer)
		}
		out <- r
	}()
	return out
}

// layer measures all candidates on the samples of a layer.
func (s *searcher) layer(layer int) error {
	if s.next == nil {
		s.next = s.reading(layer)
	}
	now := <-s.next
	s.next = s.reading(layer + 1) // of none beyond the last
	if now.err != nil {
		return now.err
	}
	if s.Rule == MInference { // as published: one sample
		now.prompts = now.prompts[:1]
	}
	heads := s.Source.Shape.QHeads
	sum, needles, power := make([][]measured, heads), make([]float64, heads), make([]float64, heads)
	for h := range sum {
		sum[h] = make([]measured, len(s.list))
	}
	for i, p := range now.prompts {
		profiles, all, err := s.prompt(p, layer)
		if err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
		for h := range heads {
			power[h], needles[h] = power[h]+profiles[h].power/float64(len(now.prompts)), needles[h]+profiles[h].needles
			for c := range s.list {
				sum[h][c].add(all[c][h])
			}
		}
	}
	s.power = append(s.power, power)
	for h := range heads {
		s.addHead(sum[h], needles[h], float64(len(now.prompts)))
	}
	return s.state.save()
}

func (m *measured) add(o measured) {
	m.error2, m.mass, m.density, m.millis, m.lost = m.error2+o.error2, m.mass+o.mass, m.density+o.density, m.millis+o.millis, m.lost+o.lost
}

// addHead turns the sums of a head over its samples into options, one for each candidate.
func (s *searcher) addHead(sums []measured, needles, samples float64) {
	options := make([]option, len(sums))
	for c, m := range sums {
		o := choice{of: s.list[c], mass: m.mass / samples}
		o.found = plan.Found{Density: m.density / samples, Millis: m.millis / samples, Error: math.Sqrt(m.error2 / samples)}
		if needles > 0 {
			o.lost = m.lost / needles
		}
		options[c].choice = o
	}
	s.options, s.needles = append(s.options, options), append(s.needles, needles)
}

// prompt measures all candidates on one prompt, [candidates][heads]: what the state has is taken from there. While the device runs a candidate,
// the host looks at what the one before left.
func (s *searcher) prompt(p prompt, layer int) (profiles []profile, all [][]measured, err error) {
	known, ref, err := s.profiles(p)
	if err != nil {
		return nil, nil, err
	}
	rows, fresh := make([][][]float64, len(s.list)), make([]bool, len(s.list))
	var g errgroup.Group
	g.SetLimit(2)
	for i, c := range s.list {
		s.step("measuring", layer*len(s.list)+i, s.Source.Layers*len(s.list))
		if !s.runs(layer, i) {
			rows[i] = nothing(len(known))
			continue
		}
		var there bool
		if rows[i], there = s.state.find(s.key(p, c.name()), len(known), len(measured{}.numbers())); there {
			continue
		}
		if ref == nil {
			if ref, err = s.reference(p); err != nil {
				break
			}
		}
		var got outcome
		if got, err = s.memory.run(c, s.rows); err != nil {
			err = fmt.Errorf("%s: %w", c.Head, err)
			break
		}
		fresh[i] = true
		g.Go(func() (err error) {
			if rows[i], err = s.judge(ref, c, got); err != nil {
				err = fmt.Errorf("%s: %w", c.Head, err)
			}
			return err
		})
	}
	if err = errors.Join(err, g.Wait()); err != nil {
		return nil, nil, err
	}
	for i, c := range s.list {
		if fresh[i] {
			s.state.put(s.key(p, c.name()), rows[i])
		}
		own := make([]measured, len(known))
		for h := range own {
			own[h] = measuredOf(rows[i][h])
		}
		all = append(all, own)
	}
	return known, all, nil
}

// nothing is what is noted of a candidate that does not run in a layer.
func nothing(heads int) (out [][]float64) {
	for range heads {
		out = append(out, measured{}.numbers())
	}
	return out
}

// profiles are the profiles of the heads of a prompt, and the reference where they are not in the state.
func (s *searcher) profiles(p prompt) (out []profile, ref *reference, err error) {
	key := s.key(p, "dense attention")
	known, there := s.state.find(key, s.Source.Shape.QHeads, 2)
	if !there {
		if ref, err = s.reference(p); err != nil {
			return nil, nil, err
		}
		known = ref.numbers()
		s.state.put(key, known)
	}
	for _, n := range known {
		out = append(out, profile{n[0], n[1]})
	}
	return out, ref, nil
}

// numbers are the profiles as the state has them.
func (r *reference) numbers() (out [][]float64) {
	for h, power := range r.power {
		mass := 0.0
		for _, n := range r.needles[h] {
			mass += n.mass
		}
		out = append(out, []float64{power, mass})
	}
	return out
}

func (s *searcher) scorer() scorer {
	return scorer{dtype: s.Source.DType, heads: s.Source.Shape.QHeads, headDim: s.Source.Shape.HeadDim, rows: s.rows}
}

// dense puts a prompt on the device, where candidates find it, and runs dense attention.
func (s *searcher) dense(p prompt) (*reference, error) {
	if err := s.memory.put(p); err != nil {
		return nil, err
	}
	got, err := s.memory.run(s.list[0], s.rows)
	if err != nil {
		return nil, err
	}
	ref := &reference{outcome: got, needles: make([][]needle, s.Source.Shape.QHeads)}
	return ref, s.scorer().power(ref)
}

// reference is dense, and finds the retrieval rows.
func (s *searcher) reference(p prompt) (*reference, error) {
	ref, err := s.dense(p)
	if err != nil {
		return nil, err
	}
	in, err := s.memory.answering(s.rows.answers, s.Source)
	if err != nil {
		return nil, err
	}
	ref.needles, err = findNeedles(in)
	return ref, err
}

// judge measures what a candidate computed on the prompt of a reference.
func (s *searcher) judge(ref *reference, c candidate, got outcome) ([][]float64, error) {
	all, err := s.scorer().score(ref, got)
	if err != nil {
		return nil, err
	}
	density, err := s.kernels.densities(c, got.chosen)
	if err != nil {
		return nil, err
	}
	millis, err := c.priced.HeadMillis(s.Machine, got.chosen)
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(all))
	for h := range all {
		all[h].density, all[h].millis = density[h], millis[h]+c.index
		out[h] = all[h].numbers()
	}
	return out, nil
}
