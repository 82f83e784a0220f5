package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// sequence is one of a batch whose lengths are in device memory.
type sequence struct{ q, k, offset int }

// lengthsRig computes a batch twice: whole, with lengths in device memory, and each sequence by itself.
type lengthsRig struct {
	t     *testing.T
	dev   device.Device
	heads minfc.Heads
	rng   *rand.Rand
	waste float64 // what lies in rows that no sequence has

	own *minfc.Attention // computes sequences by themselves; nil: what computes the batch does
}

func (r *lengthsRig) upload(data []byte) device.Ptr {
	p, err := r.dev.Alloc(max(int64(len(data)), 16))
	require.NoError(r.t, err)
	require.NoError(r.t, r.dev.CopyToDevice(p, data, nil))
	return p
}

// tensor is [rows, heads, dim] of normal numbers, but for rows that no sequence has: what lies there must not matter.
func (r *lengthsRig) tensor(rows, heads int, used func(row int) bool) []byte {
	x := make([]float32, rows*heads*r.heads.Dim)
	for i := range x {
		x[i] = float32(r.rng.NormFloat64())
		if !used(i / (heads * r.heads.Dim)) {
			x[i] = float32(r.waste)
		}
	}
	out, err := half.Encode(r.heads.DType, x)
	require.NoError(r.t, err)
	return out
}

func (r *lengthsRig) ints(x ...int) device.Ptr {
	var out []byte
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, uint32(int32(v)))
	}
	return r.upload(out)
}

// run prepares and runs a call; what is not written of o stays 0x5a.
func (r *lengthsRig) run(a *minfc.Attention, s minfc.Shape, at minfc.Pointers, rows int) (o []byte, lse []byte) {
	call, err := a.Prepare(s)
	require.NoError(r.t, err)
	o, lse = make([]byte, 2*rows*r.heads.Q*r.heads.Dim), make([]byte, 4*rows*r.heads.Q)
	for i := range o {
		o[i] = 0x5a
	}
	for i := range lse {
		lse[i] = 0x5a
	}
	at.O, at.LSE, at.WorkspaceBytes = r.upload(o), r.upload(lse), call.Workspace()
	at.Workspace, err = r.dev.Alloc(max(at.WorkspaceBytes, 16)) // the emulator sees who reads what nobody wrote
	require.NoError(r.t, err)
	require.NoError(r.t, call.Run(nil, at))
	require.NoError(r.t, r.dev.CopyToHost(o, at.O, nil))
	require.NoError(r.t, r.dev.CopyToHost(lse, at.LSE, nil))
	for _, p := range []device.Ptr{at.O, at.LSE, at.Workspace} {
		require.NoError(r.t, r.dev.Free(p))
	}
	return o, lse
}

// close compares numbers. Rows of no sequence have a say in when a warp scales its outputs anew, which rounds them, so the bits may differ.
func (r *lengthsRig) close(want, got []float32, format string, args ...any) {
	r.t.Helper()
	for i, x := range want {
		y := got[i]
		if x != y && !(math.Abs(float64(x-y)) <= 1./64*math.Max(1./4, math.Abs(float64(x)))) {
			r.t.Fatalf("number %d is %v, want %v: %s", i, y, x, fmt.Sprintf(format, args...))
		}
	}
}

func (r *lengthsRig) decode(data []byte) []float32 {
	out := make([]float32, len(data)/2)
	require.NoError(r.t, half.Decode(r.heads.DType, out, data))
	return out
}

func floats(data []byte) (out []float32) {
	for ; len(data) > 0; data = data[4:] {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
	return out
}

// bshd are the strides of [rows, heads, dim], and of an LSE of [heads, rows].
func (r *lengthsRig) bshd(rowsQ, rowsK int) runtime.Strides {
	of := func(heads, rows int) runtime.Stride {
		d := int64(r.heads.Dim)
		return runtime.Stride{Batch: int64(rows*heads) * d, Head: d, Row: int64(heads) * d}
	}
	q, kv := of(r.heads.Q, rowsQ), of(r.heads.KV, rowsK)
	return runtime.Strides{Q: q, K: kv, V: kv, O: q, LSE: runtime.Stride{Batch: int64(rowsQ * r.heads.Q), Head: int64(rowsQ)}}
}

// lseOf is the LSE of a sequence, [heads, rows].
func (r *lengthsRig) lseOf(b *batch, i int, lse []byte, ragged bool) (out []byte) {
	for h := range r.heads.Q {
		from := h*b.rowsQ + b.firstQ[i]
		if !ragged {
			each := b.rowsQ / len(b.of)
			from = i*each*r.heads.Q + h*each + b.firstQ[i] - i*each
		}
		out = append(out, lse[4*from:4*(from+b.of[i].q)]...)
	}
	return out
}

// batch is where the rows of each sequence begin, of how many in all.
type batch struct {
	of             []sequence
	firstQ, firstK []int
	rowsQ, rowsK   int
	most           sequence
}

func (b *batch) bound(room int) {
	for _, s := range b.of {
		b.most = sequence{max(b.most.q, s.q), max(b.most.k, s.k), max(b.most.offset, s.offset)}
	}
	b.most.q, b.most.k, b.most.offset = b.most.q+room, b.most.k+room, b.most.offset+room
}

func (b *batch) uses(first []int, n func(sequence) int) func(int) bool {
	return func(row int) bool {
		for i, s := range b.of {
			if row >= first[i] && row < first[i]+n(s) {
				return true
			}
		}
		return false
	}
}

// check runs the batch and compares it, sequence by sequence.
func (r *lengthsRig) check(a *minfc.Attention, b *batch, ragged, fallback bool) {
	t := r.t
	q := r.tensor(b.rowsQ, r.heads.Q, b.uses(b.firstQ, func(s sequence) int { return s.q }))
	usedK := b.uses(b.firstK, func(s sequence) int { return s.k })
	k, v := r.tensor(b.rowsK, r.heads.KV, usedK), r.tensor(b.rowsK, r.heads.KV, usedK)
	at := minfc.Pointers{Q: r.upload(q), K: r.upload(k), V: r.upload(v)}
	shape := minfc.Shape{Batch: len(b.of), SeqQ: b.most.q, SeqK: b.most.k, QOffset: b.most.offset, NoFallback: !fallback, Lengths: runtime.Padded}
	shape.Strides = r.bshd(b.rowsQ/len(b.of), b.rowsK/len(b.of))
	var lensQ, lensK, offsets, startsQ, startsK []int
	for i, s := range b.of {
		lensQ, lensK, offsets = append(lensQ, s.q), append(lensK, s.k), append(offsets, s.offset)
		startsQ, startsK = append(startsQ, b.firstQ[i]-i*b.most.q), append(startsK, b.firstK[i]-i*b.most.k)
	}
	if ragged {
		shape.Lengths, shape.TotalQ, shape.TotalK, shape.Strides = runtime.Ragged, b.rowsQ, b.rowsK, r.bshd(b.rowsQ, b.rowsK)
		lensQ, lensK = append(b.firstQ[:len(b.of):len(b.of)], b.rowsQ), append(b.firstK[:len(b.of):len(b.of)], b.rowsK)
	}
	at.LengthsQ, at.LengthsK, at.Offsets = r.ints(lensQ...), r.ints(lensK...), r.ints(offsets...)
	if !ragged {
		at.StartsQ, at.StartsK = r.ints(startsQ...), r.ints(startsK...)
	}
	o, lse := r.run(a, shape, at, b.rowsQ)
	for i, s := range b.of {
		row, kvRow := 2*r.heads.Q*r.heads.Dim, 2*r.heads.KV*r.heads.Dim
		firstQ, firstK := b.firstQ[i], b.firstK[i]
		own := minfc.Pointers{Q: r.upload(q[firstQ*row : (firstQ+s.q)*row]), K: r.upload(k[firstK*kvRow : (firstK+s.k)*kvRow])}
		own.V = r.upload(v[firstK*kvRow : (firstK+s.k)*kvRow])
		gotO, gotLSE := o[firstQ*row:(firstQ+s.q)*row], r.lseOf(b, i, lse, ragged)
		alone := minfc.Shape{Batch: 1, SeqQ: s.q, SeqK: s.k, QOffset: s.offset, NoFallback: !fallback, Strides: r.bshd(s.q, s.k)}
		single := a
		if r.own != nil {
			single = r.own
		}
		wantO, wantLSE := r.run(single, alone, own, s.q)
		r.close(r.decode(wantO), r.decode(gotO), "sequence %d of %+v", i, b)
		r.close(floats(wantLSE), floats(gotLSE), "LSE of sequence %d of %+v", i, b)
		if !math.IsNaN(r.waste) { // beside NaNs tiles are computed with care
			alone.SeqQ, alone.SeqK, alone.QOffset = b.most.q, b.most.k, b.most.offset
			alone.Lengths, alone.TotalQ, alone.TotalK = runtime.Ragged, s.q, s.k
			own.LengthsQ, own.LengthsK, own.Offsets = r.ints(0, s.q), r.ints(0, s.k), r.ints(s.offset)
			wantO, wantLSE = r.run(a, alone, own, s.q)
			require.True(t, bytes.Equal(wantO, gotO) && bytes.Equal(wantLSE, gotLSE), "the bits of sequence %d depend on the others: %+v", i, b)
		}
	}
	for row := range b.rowsQ {
		if !b.uses(b.firstQ, func(s sequence) int { return s.q })(row) {
			require.Equal(t, byte(0x5a), o[2*row*r.heads.Q*r.heads.Dim], "row %d is no sequence's", row)
		}
	}
	for _, p := range []device.Ptr{at.Q, at.K, at.V, at.LengthsQ, at.LengthsK, at.Offsets} {
		require.NoError(t, r.dev.Free(p))
	}
}

// besideNothing is a padded batch with a query that has no keys, and rows of no sequence beside it.
func besideNothing() *batch {
	return &batch{of: []sequence{{130, 156, 17}, {1, 0, 0}}, firstQ: []int{0, 130}, firstK: []int{0, 156}, rowsQ: 260, rowsK: 312, most: sequence{130, 156, 17}}
}

// partOfATile is a batch of one sequence that does not fill its row tile.
func partOfATile() *batch {
	return &batch{of: []sequence{{33, 400, 367}}, firstQ: []int{0}, firstK: []int{0}, rowsQ: 103, rowsK: 470, most: sequence{103, 470, 437}}
}

// random is a batch of some sequences, with empty ones among them; ragged sequences follow each other.
func (r *lengthsRig) random(ragged bool) *batch {
	b, pick := &batch{}, func(of ...int) int { return of[r.rng.IntN(len(of))] }
	for range pick(1, 2, 3, 5) {
		s := sequence{q: pick(0, 1, 33, 64, 65, 130, 200+r.rng.IntN(100))}
		s.offset = pick(0, 0, 17, 64, 100)
		s.k = max(0, s.offset+s.q+pick(0, 0, 0, -5, 9))
		b.of = append(b.of, s)
	}
	b.bound(pick(0, 0, 70))
	for i, s := range b.of {
		if !ragged {
			b.firstQ = append(b.firstQ, i*b.most.q+pick(0, b.most.q-s.q, (b.most.q-s.q)/2)) // padded behind, in front, on both sides
			b.firstK = append(b.firstK, i*b.most.k+pick(0, b.most.k-s.k, (b.most.k-s.k)/2))
			continue
		}
		b.firstQ, b.firstK = append(b.firstQ, b.rowsQ), append(b.firstK, b.rowsK)
		b.rowsQ, b.rowsK = b.rowsQ+s.q, b.rowsK+s.k
	}
	if !ragged {
		b.rowsQ, b.rowsK = len(b.of)*b.most.q, len(b.of)*b.most.k
	}
	return b
}

// lengthsDevice is a device that a person named; an emulator has some multiprocessors, so that blocks that take tiles from a queue are few.
func lengthsDevice(t *testing.T, spec string, multiprocessors int) device.Device {
	if model, is := strings.CutPrefix(spec, "emu:sm_"); is {
		capability, err := strconv.Atoi(model)
		require.NoError(t, err)
		return openEmulator(t, emu.Options{Capability: capability, Multiprocessors: multiprocessors})
	}
	dev, _, err := device.OpenSpec(spec)
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

// lengthsOfRuns chooses by a share and forces the last run, whose place depends on the length.
const lengthsOfRuns = `pattern runs {
  index probe = softmax(q[-64:] * k)
  index most = top_p(0.4, sum(probe, diagonals(48))) with last 1 with most 4
  keep causal & (diagonals(most) | sink(3))
}`

// nearOnes are columns and distances near the best ones.
const nearOnes = `pattern near_ones {
  index probe = softmax(q[-64:] * k)
  index cols = near_max(0.3, sum(probe, queries)) with least 9
  index diags = near_max(0.4, sum(probe, diagonals)) with first 20 with most 90
  keep causal & (columns(cols) | diagonals(diags))
}`

// sharesByGroup and bestByGroup are means over heads of a batch entry: of shares of blocks, and of pooled queries.
const (
	sharesByGroup = `pattern shares {
  index near = top_p(0.5, softmax(mean(q, 64) * mean(k, 64))) shared by group with last 1
  keep causal & blocks(near)
}`
	bestByGroup = `pattern best(n = 2) {
  index best = top(n, mean(q, 128) * max(k, 64)) shared by group with last 1
  keep causal & blocks(best)
}`
)

// TestLengths: what a sequence computes is the same alone and in a batch whose lengths are in device memory, to the bit if the longest lengths
// are the same; MINFC_LENGTHS_DEVICE=cuda says it of a GPU. Rows beyond its length neither count nor are written, whatever they hold.
func TestLengths(t *testing.T) {
	mixed, err := plan.Read("plan", []byte(`{"schema": 1, "layers": [{
		"0": {"pattern": "vertical_slash", "params": {"vertical": 40, "slash": 100}},
		"1": {"pattern": "vertical_slash", "params": {"vertical": 30, "slash": 120}},
		"2": {"pattern": "a_shape", "params": {"sink": 5, "window": 70}}, "3": {"pattern": "block_sparse", "params": {"topk": 2}}}]}`), nil)
	require.NoError(t, err)
	specs := []minfc.Spec{{Pattern: "dense"}, {Pattern: "full"}, {Pattern: "a_shape", Params: map[string]int64{"sink": 5, "window": 70}},
		{Pattern: "strided"}, {Pattern: "tri_shape"},
		{Pattern: "vertical_slash", Params: map[string]int64{"vertical": 40, "slash": 100}},
		{Pattern: "slash_tiles", Params: map[string]int64{"vertical": 40, "runs": 3}},
		{Source: lengthsOfRuns},
		{Plan: mixed}, {Pattern: "block_sparse", Params: map[string]int64{"topk": 2}},
		{Pattern: "flash_prefill", Params: map[string]int64{"share": 900, "sink": 0, "window": 0, "last": 0}},
		{Pattern: "most_mass", Params: map[string]int64{"share": 500, "least": 140, "limit": 200}},
		{Source: nearOnes}, {Pattern: "slash_tiles_shared", Params: map[string]int64{"vertical": 40, "runs": 3}}, {Source: sharesByGroup}, {Source: bestByGroup},
		{Source: skipSources["causal"]}, {Source: skipSources["near"]}, {Source: skipSources["blocks"]}}
	targets := []string{"emu:sm_80", "emu:sm_90"}
	if spec := os.Getenv("MINFC_LENGTHS_DEVICE"); spec != "" {
		targets = []string{spec}
	}
	for _, target := range targets {
		for n, spec := range specs {
			for _, dim := range [][]int{{64, 128}, {128, 64}}[n%2][:campaign.Few(1, 2)] {
				name := fmt.Sprintf("%s/%d_%s/%d", target, n, spec.Pattern, dim)
				t.Run(name, func(t *testing.T) {
					dev := lengthsDevice(t, target, 1+n%3)
					r := &lengthsRig{t: t, dev: dev, heads: minfc.Heads{Q: 4, KV: 2, Dim: dim, DType: abi.BF16}, rng: rand.New(rand.NewPCG(uint64(n), uint64(dim)))}
					a, err := minfc.NewAttention(dev, spec, r.heads)
					require.NoError(t, err)
					defer a.Close()
					r.waste = math.NaN()
					r.check(a, besideNothing(), false, false)
					r.waste = 1000
					r.check(a, partOfATile(), false, false)
					for range campaign.Cases(1, 1, 4) {
						for _, ragged := range []bool{false, true} {
							r.waste = []float64{1000, math.NaN()}[r.rng.IntN(2)]
							r.check(a, r.random(ragged), ragged, false)
						}
					}
					if spec.Pattern == "vertical_slash" { // so short that all heads run dense
						r.check(a, r.random(true), true, true)
					}
				})
			}
		}
	}
}
