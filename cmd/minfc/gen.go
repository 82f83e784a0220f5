package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/workload"
)

type genCmd struct {
	Kind      string    `default:"mixed" help:"Structure of the heads: random, a_shape, slash, columns, blocks, diffuse, or mixed, all but random over the kv heads. Default: mixed."`
	SeqLen    count     `name:"seqlen" default:"32k" placeholder:"N" help:"Tokens; k is 1024 and m 1048576. Default: 32k."`
	Batch     int       `default:"1" placeholder:"B" help:"Batches. Default: 1."`
	Heads     int       `default:"8" placeholder:"H" help:"Query heads. Default: 8."`
	KVHeads   int       `name:"kv-heads" placeholder:"K" help:"Heads of k and v. Default: as many as query heads."`
	HeadDim   int       `default:"128" placeholder:"D" help:"Head dim. Default: 128."`
	DType     dtypeName `name:"dtype" default:"bf16" placeholder:"bf16|f16" help:"Type of q, k and v: bf16 or f16."`
	Sharpness float64   `default:"1" placeholder:"X" help:"Factor of the planted logits, up to 4: above 1 attention keeps closer to what was planted. Default: 1."`
	Seed      uint64    `default:"1" placeholder:"N" help:"The same seed gives the same bytes everywhere. Default: 1."`
	Out       string    `short:"o" required:"" placeholder:"OUT.safetensors" help:"Tensors q [B, H, N, D], k and v [B, K, N, D]; - is standard output, and the table then goes to standard error."`
}

// Run writes the tensors and prints what each head holds.
func (c *genCmd) Run(a *app) error {
	s := c.spec()
	if err := s.Check(); err != nil {
		return usage(err)
	}
	if err := checkGenSize(s); err != nil {
		return err
	}
	if err := writable(c.Out); err != nil { // now, not after a long run
		return err
	}
	q, k, v, err := workload.GenerateWatched(s, func(done, total int64) { a.progress.Step("making tensors", done, total) })
	if err != nil {
		return err
	}
	in := &qkv.Input{Format: s.DType, Q: q, K: k, V: v, Shape: qkv.Shape{Batch: s.Batch, QHeads: s.QHeads, KVHeads: s.KVHeads,
		SeqQ: s.SeqLen, SeqK: s.SeqLen, HeadDim: s.HeadDim}}
	if err := writeTensors(a, c.Out, in.Tensors()); err != nil {
		return err
	}
	if c.Out == "-" {
		a.out = &results{w: a.err} // the table must not mix with the tensors
	}
	return printHeads(a, s.Heads())
}

func (c *genCmd) spec() workload.Spec {
	s := workload.Spec{Kind: workload.Kind(c.Kind), Batch: c.Batch, QHeads: c.Heads, KVHeads: c.KVHeads, SeqLen: int(c.SeqLen),
		HeadDim: c.HeadDim, Sharpness: c.Sharpness, Seed: c.Seed, DType: abi.DType(c.DType)}
	if s.KVHeads == 0 {
		s.KVHeads = s.QHeads
	}
	return s
}

// maxGen bounds the tensors of one file, which need twice their size in memory.
const maxGen = 8 << 30

func checkGenSize(s workload.Spec) error {
	if size := float64(s.Bytes()); size > maxGen {
		return fmt.Errorf("q, k and v would take %.1f GB, the limit of a file is %.1f: ask for fewer --heads or tokens (minfc bench makes its inputs on the device)",
			size/1e9, float64(maxGen)/1e9)
	}
	return nil
}

func printHeads(a *app, heads []workload.Head) error {
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "head\tkv head\tkind\tplanted\tfitting pattern")
	for i, h := range heads {
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", i, h.KVHead, h.Kind, h.Planted(), h.Fit)
	}
	return w.Flush()
}
