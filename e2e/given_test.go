package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// givenCase is a call whose lists the caller gives.
type givenCase struct {
	batch, sq, sk int
	causal        bool
	lists         givenLists
	room          int // more than the longest list has
	nan           bool
}

func (c givenCase) String() string {
	return fmt.Sprintf("batch %d, %d queries, %d keys, causal %v, NaN %v", c.batch, c.sq, c.sk, c.causal, c.nan)
}

// offset is the position of query 0: the last query is at the last key.
func (c givenCase) offset() int {
	if c.causal {
		return c.sk - c.sq
	}
	return 0
}

func (c givenCase) rowBlocks() int { return (c.sq + ir.BlockSize - 1) / ir.BlockSize }

// givenRig runs calls on a device and holds them against float64.
type givenRig struct {
	t     *testing.T
	dev   device.Device
	heads minfc.Heads
	rng   *rand.Rand
	held  []device.Ptr
}

func (r *givenRig) upload(data []byte) device.Ptr {
	p, err := r.dev.Alloc(max(int64(len(data)), 16))
	require.NoError(r.t, err)
	require.NoError(r.t, r.dev.CopyToDevice(p, data, nil))
	r.held = append(r.held, p)
	return p
}

// free gives back what was uploaded.
func (r *givenRig) free() {
	for _, p := range r.held {
		require.NoError(r.t, r.dev.Free(p))
	}
	r.held = nil
}

// tensor is [batch, rows, heads, dim] of normal numbers, and what is left of them in 16 bits.
func (r *givenRig) tensor(n int) (data []byte, x []float32) {
	x = make([]float32, n)
	for i := range x {
		x[i] = float32(r.rng.NormFloat64())
	}
	data, err := half.Encode(r.heads.DType, x)
	require.NoError(r.t, err)
	require.NoError(r.t, half.Decode(r.heads.DType, x, data))
	return data, x
}

// strides are the strides of tensors [batch, rows, heads, dim].
func (r *givenRig) strides(c givenCase) runtime.Strides {
	of := func(heads, rows int) runtime.Stride {
		d := int64(r.heads.Dim)
		return runtime.Stride{Batch: int64(rows*heads) * d, Head: d, Row: int64(heads) * d}
	}
	q, kv := of(r.heads.Q, c.sq), of(r.heads.KV, c.sk)
	return runtime.Strides{Q: q, K: kv, V: kv, O: q}
}

// givenInputs are the tensors of a call as the reference sees them.
type givenInputs struct{ q, k, v []float32 }

// check runs a case and compares it with float64, and with the interpreter of its schedule. It returns the output.
func (r *givenRig) check(prepare func(minfc.Shape) (*minfc.Call, error), c givenCase) (o []byte) {
	t := r.t
	defer r.free()
	var in givenInputs
	var q, k, v []byte
	q, in.q = r.tensor(c.batch * c.sq * r.heads.Q * r.heads.Dim)
	k, in.k = r.tensor(c.batch * c.sk * r.heads.KV * r.heads.Dim)
	v, in.v = r.tensor(c.batch * c.sk * r.heads.KV * r.heads.Dim)
	if c.nan && c.sk > 0 { // of one key: its rows, and no others, have it
		at := r.rng.IntN(c.sk) * r.heads.KV * r.heads.Dim
		in.v[at] = float32(math.NaN())
		nan, err := half.Encode(r.heads.DType, in.v[at:at+1])
		require.NoError(t, err)
		copy(v[2*at:], nan)
	}
	shape := minfc.Shape{Batch: c.batch, SeqQ: c.sq, SeqK: c.sk, QOffset: c.offset(), Strides: r.strides(c),
		SpanCap: longest(c.lists.spans) + c.room, KeyCap: longest(c.lists.keys) + c.room}
	call, err := prepare(shape)
	require.NoError(t, err)
	spans, spanCount := table(c.lists.spans, shape.SpanCap, r.rng)
	keys, keyCount := table(c.lists.keys, shape.KeyCap, r.rng)
	lse := make([]byte, 4*c.batch*r.heads.Q*c.sq)
	o = make([]byte, len(q))
	at := minfc.Pointers{Q: r.upload(q), K: r.upload(k), V: r.upload(v), O: r.upload(o), LSE: r.upload(lse),
		Spans: r.upload(spans), SpanCount: r.upload(spanCount), Keys: r.upload(keys), KeyCount: r.upload(keyCount),
		Workspace: r.upload(make([]byte, call.Workspace())), WorkspaceBytes: call.Workspace()}
	require.NoError(t, call.Run(nil, at))
	require.NoError(t, r.dev.CopyToHost(o, at.O, nil))
	require.NoError(t, r.dev.CopyToHost(lse, at.LSE, nil))
	got := make([]float32, len(o)/2)
	require.NoError(t, half.Decode(r.heads.DType, got, o))
	for head := range c.batch * r.heads.Q {
		r.checkHead(c, call, in, head, got, floats(lse))
	}
	return o
}

// checkHead compares a head, counted over the batch.
func (r *givenRig) checkHead(c givenCase, call *minfc.Call, in givenInputs, head int, o, lse []float32) {
	t, d := r.t, r.heads.Dim
	first := head * c.rowBlocks()
	own := &runtime.Chosen{Kept: &ir.Selection{QOffset: c.offset(), Sets: []ir.Selected{
		{Name: "spans", Kind: ir.ChosenSpans, Blocks: c.lists.spans[first:][:c.rowBlocks()]},
		{Name: "singles", Kind: ir.ChosenKeys, Blocks: c.lists.keys[first:][:c.rowBlocks()]}}}}
	cover, err := call.Cover(head, own, nil)
	require.NoError(t, err)
	batch, h := head/r.heads.Q, head%r.heads.Q
	for i := range c.sq {
		counts := c.lists.counts(first+i/ir.BlockSize, c.sk)
		for k := range counts {
			if c.causal && k > i+c.sk-c.sq {
				counts[k] = 0
			}
			require.Equal(t, counts[k], int(cover[i*c.sk+k]), "how often key %d counts in row %d of head %d, as the schedule says", k, i, head)
		}
		row := ((batch*c.sq+i)*r.heads.Q + h) * d
		want, wantLSE := r.attend(c, in, batch, h, in.q[row:row+d], counts)
		for j, x := range want {
			if y := float64(o[row+j]); !nearly(x, y, 1./40) {
				t.Fatalf("%v: row %d of head %d, element %d is %v, want %v", c, i, head, j, y, x)
			}
		}
		if y := float64(lse[head*c.sq+i]); !nearly(wantLSE, y, 1./500) {
			t.Fatalf("%v: LSE of row %d of head %d is %v, want %v", c, i, head, y, wantLSE)
		}
	}
}

// attend is attention of one row over keys that count so often.
func (r *givenRig) attend(c givenCase, in givenInputs, batch, h int, q []float32, counts []int) (out []float64, lse float64) {
	d, scale := r.heads.Dim, 1/math.Sqrt(float64(r.heads.Dim))
	at := func(k int) int { return ((batch*c.sk+k)*r.heads.KV + h/(r.heads.Q/r.heads.KV)) * d }
	logits, most, sum := make([]float64, len(counts)), math.Inf(-1), 0.0
	for k, n := range counts {
		if n == 0 {
			continue
		}
		for j, x := range q {
			logits[k] += scale * float64(x) * float64(in.k[at(k)+j])
		}
		most = max(most, logits[k])
	}
	out = make([]float64, d)
	for k, n := range counts {
		if n == 0 {
			continue
		}
		p := float64(n) * math.Exp(logits[k]-most)
		sum += p
		for j := range out {
			out[j] += p * float64(in.v[at(k)+j])
		}
	}
	for j := range out {
		if sum > 0 {
			out[j] /= sum
		}
	}
	return out, most + math.Log(sum)
}

// nearly compares with what 16 bits leave of a probability and of an output.
func nearly(want, got, share float64) bool {
	if math.IsNaN(want) || math.IsInf(want, 0) {
		return math.IsNaN(want) && math.IsNaN(got) || want == got
	}
	return math.Abs(want-got) <= share*max(1./4, math.Abs(want))
}

// random is a case with lists of one of the kinds that there are.
func (r *givenRig) random(causal bool) givenCase {
	pick := func(of ...int) int { return of[r.rng.IntN(len(of))] }
	c := givenCase{batch: pick(1, 2), sq: pick(1, 33, 64, 65, 130, 200), causal: causal, room: pick(0, 0, 1, 40), nan: pick(0, 0, 0, 1) == 1}
	c.sk = c.sq + pick(0, 0, 7, 64, 150)
	if !causal {
		c.sk = pick(0, 1, 63, 64, 100, 260)
	}
	heads := c.batch * r.heads.Q
	if causal && pick(0, 1) == 0 {
		c.lists = convertedLists(r.rng, heads, c.sq, c.sk)
	} else {
		c.lists = randomLists(r.rng, heads*c.rowBlocks(), c.sk)
	}
	return c
}

// givenTargets are the devices that tests of given lists run on: MINFC_GIVEN_DEVICE=cuda says it of a GPU.
func givenTargets() []string {
	if spec := os.Getenv("MINFC_GIVEN_DEVICE"); spec != "" {
		return []string{spec}
	}
	return []string{"emu:sm_80", "emu:sm_90"}
}

// TestGivenListsInAnyOrderOfWarps: the bits do not depend on which warp of a block comes first, so that no warp reads what another has not
// finished.
func TestGivenListsInAnyOrderOfWarps(t *testing.T) {
	for _, target := range compile.Targets() {
		for _, dim := range []int{64, 128, 256}[:campaign.Few(1, 3)] {
			heads := minfc.Heads{Q: 2, KV: 1, Dim: dim, DType: abi.BF16}
			art, err := compile.Given(true).Compile(compile.Options{Target: target, DType: heads.DType, HeadDim: dim}, nil)
			require.NoError(t, err)
			var first [2][]byte
			for seed := range uint64(2 * campaign.Cases(2, 4, 16)) {
				nan := seed % 2 // with one, the row tile is computed again
				r := &givenRig{t: t, dev: openEmulator(t, emu.Options{Seed: seed / 2}), heads: heads, rng: rand.New(rand.NewPCG(uint64(dim), 3))}
				c := givenCase{batch: 1, sq: 150, sk: 300, causal: true, lists: convertedLists(r.rng, 2, 150, 300), nan: nan == 1}
				l := load(t, r.dev, art)
				o := r.check(func(s runtime.Shape) (*minfc.Call, error) {
					s.QHeads, s.KVHeads = heads.Q, heads.KV
					return l.Prepare(s)
				}, c)
				if first[nan] == nil {
					first[nan] = o
				}
				require.Equal(t, first[nan], o)
			}
		}
	}
}

// TestGivenLists: attention over lists that the caller gives, in any order, with any numbers in them, is what float64 says, and the schedule's
// interpreter says how often each key counts.
func TestGivenLists(t *testing.T) {
	for _, target := range givenTargets() {
		for n, dim := range []int{64, 80, 128, 192, 256} {
			for _, given := range []minfc.Given{minfc.GivenCausal, minfc.GivenFull} {
				t.Run(fmt.Sprintf("%s/%d/%s", target, dim, given), func(t *testing.T) {
					dev, _, err := device.OpenSpec(target)
					require.NoError(t, err)
					defer dev.Close()
					r := &givenRig{t: t, dev: dev, heads: minfc.Heads{Q: 4, KV: 2, Dim: dim, DType: []abi.DType{abi.BF16, abi.F16}[n%2]},
						rng: rand.New(rand.NewPCG(uint64(n), 7))}
					a, err := minfc.NewAttention(dev, minfc.Spec{Given: given}, r.heads)
					require.NoError(t, err)
					defer a.Close()
					for range campaign.Cases(1, 3, 12) {
						r.check(a.Prepare, r.random(given == minfc.GivenCausal))
					}
				})
			}
		}
	}
}
