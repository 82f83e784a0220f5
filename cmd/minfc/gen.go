package main

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/workload"
)

type genCmd struct {
	Kind      string      `default:"mixed" help:"Structure of the heads: random, a_shape, slash, columns, blocks, diffuse, or mixed, all but random over the kv heads. Default: mixed."`
	SeqLen    flags.Count `name:"seqlen" default:"32k" placeholder:"N" help:"Tokens; k is 1024 and m 1048576. Default: 32k."`
	Batch     int         `default:"1" placeholder:"B" help:"Batches. Default: 1."`
	Heads     int         `default:"8" placeholder:"H" help:"Query heads. Default: 8."`
	KVHeads   int         `name:"kv-heads" placeholder:"K" help:"Heads of k and v. Default: as many as query heads."`
	HeadDim   int         `default:"128" placeholder:"D" help:"Head dim. Default: 128."`
	DType     flags.DType `name:"dtype" default:"bf16" placeholder:"${dtype}" help:"Type of q, k and v: ${dtypes}."`
	Sharpness float64     `default:"1" placeholder:"X" help:"Factor of the planted logits, up to 4: above 1 attention keeps closer to what was planted. Default: 1."`
	Seed      uint64      `default:"1" placeholder:"N" help:"The same seed gives the same bytes everywhere. Default: 1."`
	Out       string      `short:"o" required:"" placeholder:"OUT.safetensors" help:"Tensors q [B, H, N, D], k and v [B, K, N, D]; - is standard output, and the table then goes to standard error."`
}

// Run writes the tensors and prints what each head holds.
func (c *genCmd) Run(out *console.Console) error {
	s := c.spec()
	if err := s.Check(); err != nil {
		return failure.Usage(err)
	}
	if err := qkv.CheckFileSize(s); err != nil {
		return err
	}
	if err := files.Writable(c.Out); err != nil { // now, not after a long run
		return err
	}
	in, err := qkv.GenerateSpec(s, func(done, total int64) { out.Progress.Step("making tensors", done, total) })
	if err != nil {
		return err
	}
	if err := writeTensors(out, c.Out, in.Tensors()); err != nil {
		return err
	}
	if c.Out == "-" {
		out.ReportBeside() // the table must not mix with the tensors
	}
	return s.WriteHeads(out.Out)
}

func (c *genCmd) spec() workload.Spec {
	s := workload.Spec{Kind: workload.Kind(c.Kind), Batch: c.Batch, QHeads: c.Heads, KVHeads: c.KVHeads, SeqLen: int(c.SeqLen),
		HeadDim: c.HeadDim, Sharpness: c.Sharpness, Seed: c.Seed, DType: abi.DType(c.DType)}
	if s.KVHeads == 0 {
		s.KVHeads = s.QHeads
	}
	return s
}
