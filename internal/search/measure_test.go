package search

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// headValues are the values of one head of a tensor.
func headValues(t *testing.T, in *qkv.Input, data []byte, head int) []float32 {
	out := make([]float32, in.SeqQ*in.HeadDim)
	require.NoError(t, half.Decode(in.Format, out, data[2*len(out)*head:][:2*len(out)]))
	return out
}

// attend is the softmax over the kept keys of a row in float64: the output, and the sum of e to the logits.
func attend(q, k, v []float32, row, dim int, keeps func(key int) bool) (o []float64, sum float64) {
	o = make([]float64, dim)
	for key := range row + 1 {
		if !keeps(key) {
			continue
		}
		logit := 0.0
		for i := range dim {
			logit += float64(q[row*dim+i]) * float64(k[key*dim+i])
		}
		p := math.Exp(logit / math.Sqrt(float64(dim)))
		sum += p
		for i := range dim {
			o[i] += p * float64(v[key*dim+i])
		}
	}
	for i := range o {
		o[i] /= sum
	}
	return o, sum
}

// TestMeasures: error, kept part and density are what float64 attention over the pairs gives that the launch says it kept.
func TestMeasures(t *testing.T) {
	c := toyConfig(t, "")
	spec := toy
	spec.QHeads, spec.KVHeads, spec.SeqLen = 4, 2, 200
	var err error
	c.Source, err = Generated(spec, 1, 1)
	require.NoError(t, err)
	for name, params := range map[string]map[string]int64{"a_shape": {"sink": 3, "window": 20}, "vertical_slash": {"vertical": 31, "slash": 101}, "sink_blocks": {"topk": 2}} {
		c.Candidates = append(c.Candidates, plan.Head{Pattern: c.Patterns.Known[name], Params: params})
	}
	dev, _ := watched(t)
	s, err := measure(dev, c)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.close()) }()
	in, err := qkv.GenerateSpec(spec, nil)
	require.NoError(t, err)
	for i, own := range s.list {
		got, err := s.memory.run(own, s.rows)
		require.NoError(t, err)
		for h := range in.QHeads {
			of := s.options[h][i]
			cover, err := s.coverOf(own, got, h)
			require.NoError(t, err)
			want := expected(t, s, in, h, cover)
			require.InDelta(t, want.mass, of.mass, 1e-3, "%s, head %d", own.Head, h)
			require.InDelta(t, want.density, of.found.Density, 1e-9, "%s, head %d", own.Head, h)
			require.InDelta(t, math.Sqrt(want.error2), of.found.Error, 0.01, "%s, head %d", own.Head, h)
		}
	}
}

func (s *searcher) coverOf(c candidate, got outcome, head int) ([]byte, error) {
	if got.chosen == nil {
		return c.call.Cover(head, nil, nil)
	}
	return c.call.Cover(head, &got.chosen[head], nil)
}

func expected(t *testing.T, s *searcher, in *qkv.Input, h int, cover []byte) (m measured) {
	n, dim := in.SeqQ, in.HeadDim
	q, kv := headValues(t, in, in.Q, h), h/(in.QHeads/in.KVHeads)
	k, v := headValues(t, in, in.K, kv), headValues(t, in, in.V, kv)
	require.Equal(t, n, s.rows.rows(), "all rows are sampled")
	power := 0.0
	for row, w := range s.rows.weights {
		o, sum := attend(q, k, v, row, dim, func(key int) bool { return cover[row*n+key] == 1 })
		dense, all := attend(q, k, v, row, dim, func(int) bool { return true })
		m.mass += w * sum / all
		for i := range o {
			m.error2, power = m.error2+w*(o[i]-dense[i])*(o[i]-dense[i]), power+w*dense[i]*dense[i]
		}
		for key := range row + 1 {
			m.density += float64(cover[row*n+key]) / (float64(n) * float64(n+1) / 2)
		}
	}
	m.error2 /= power
	return m
}

// TestHeadsCountByTheirOutput: a head's error counts by its part of its layer's output, times its weight, 1 on average.
func TestHeadsCountByTheirOutput(t *testing.T) {
	s := &searcher{power: [][]float64{{3, 1}, {0, 0}}}
	s.weigh()
	require.Equal(t, []float64{1.5, 0.5, 1, 1}, s.counts)
	s.Weights = Weights{{1, 3}, {0, 2}}
	s.weigh()
	require.InDeltaSlice(t, []float64{1.5 * 4 / 5, 1.5 * 4 / 5, 0, 2 * 4. / 5}, s.counts, 1e-9)
}

func TestWeights(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.json")
	read := func(text string) (Weights, error) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return ReadWeights(path, 2, 3)
	}
	w, err := read(`[2.5, [1, 0, 3]]`)
	require.NoError(t, err)
	require.Equal(t, Weights{{2.5, 2.5, 2.5}, {1, 0, 3}}, w)
	for text, want := range map[string]string{
		`{}`: "want a JSON list of the weights of each layer", `[1]`: "there are weights of 1 layers, the inputs have 2", `[1, [1, 2]]`: "layer 1 has 2 weights, the inputs have 3 query heads",
		`[1, "a"]`: "layer 1: want a number, or a list of a number for each head", `[0, [0, 0, 0]]`: "all weights are 0", `[1, [1, -1, 0]]`: "layer 1, head 1: the weight is -1",
	} {
		_, err := read(text)
		require.ErrorContains(t, err, path+": ", text)
		require.ErrorContains(t, err, want, text)
	}
}

// TestTooLittleMemory: the error says what to lower, and nothing stays behind.
func TestTooLittleMemory(t *testing.T) {
	dev, err := emu.Open(emu.Options{Capability: 80, MemoryBytes: 400 << 10})
	require.NoError(t, err)
	defer dev.Close()
	_, err = Run(dev, toyConfig(t, ""))
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	require.ErrorContains(t, err, "leave such candidates out, or search on shorter prompts")
}

// TestDamagedState: an entry of another shape counts as none, and files that are no state are errors.
func TestDamagedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := &state{path: path, entries: map[string][][]float64{}}
	s.put("a", [][]float64{{1, 2}, {3, 4}})
	require.NoError(t, s.save())
	s, err := readState(path, false)
	require.NoError(t, err)
	rows, there := s.find("a", 2, 2)
	require.True(t, there)
	require.Equal(t, [][]float64{{1, 2}, {3, 4}}, rows)
	for _, n := range [][2]int{{2, 3}, {1, 2}, {3, 2}} {
		_, there := s.find("a", n[0], n[1])
		require.False(t, there)
	}
	_, there = s.find("b", 2, 2)
	require.False(t, there)
	for text, want := range map[string]string{`{"schema": 9}`: "the state of a search by another version", `[`: "it is no state of a search"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := readState(path, false)
		require.ErrorContains(t, err, want)
		_, err = readState(path, true)
		require.NoError(t, err)
	}
}
