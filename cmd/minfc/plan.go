package main

import (
	"errors"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/headplan"
)

type planCmd struct {
	Show    planShowCmd    `cmd:"" help:"Print or draw what each head runs."`
	Compile planCompileCmd `cmd:"" help:"Compile what the heads of all layers run into one artifact, for servers and for run --plan."`
	Convert planConvertCmd `cmd:"" help:"Write a plan in the other format."`
}

type planShowCmd struct {
	File     string `arg:"" help:"Head plan, of MInference or minfc, or the name of a model that has a published one."`
	Layer    *int   `placeholder:"L" help:"Layer to print, from 0. Default: all."`
	Patterns string `placeholder:"FILE" help:"Patterns beyond the library's that the plan names: pattern file or artifact."`
	JSON     bool   `name:"json" xor:"form" help:"Print the heads as JSON."`
	Map      bool   `xor:"form" help:"Print a grid of layers and heads: a letter for the pattern, a digit for the density."`
	Plot     string `placeholder:"F.svg" help:"Draw layers and heads, coloured by pattern and density, as SVG or PNG."`
}

func (c *planShowCmd) Run(out *console.Console) error {
	if c.Plot != "" {
		if err := errors.Join(headplan.CheckDrawing(c.Plot), files.Distinct([]string{c.File, c.Patterns}, []string{c.Plot})); err != nil {
			return failure.Usage(err)
		}
	}
	p, err := headplan.Read(c.File, c.Patterns)
	if err != nil {
		return err
	}
	first, end, err := p.Range(c.Layer)
	if err != nil {
		return err
	}
	if c.Plot != "" {
		data, err := p.Draw(c.Plot, first, end)
		if err != nil {
			return err
		}
		return out.Write(c.Plot, data)
	}
	switch {
	case c.Map:
		return p.WriteMap(out.Out, first, end)
	case !c.JSON:
		return p.Write(out.Out, first, end)
	}
	data, err := p.EncodeLayers(first, end)
	if err != nil {
		return err
	}
	return out.Write("-", data)
}

type planConvertCmd struct {
	In       string `arg:"" help:"Head plan, of MInference or minfc."`
	Out      string `arg:"" help:"Where to write it; - is standard output."`
	To       string `required:"" enum:"minfc,minference" help:"Format to write: minfc or minference."`
	Patterns string `placeholder:"FILE" help:"Patterns beyond the library's that the plan names: pattern file or artifact."`
}

func (c *planConvertCmd) Run(out *console.Console) error {
	if err := files.Distinct([]string{c.In, c.Patterns}, []string{c.Out}); err != nil {
		return failure.Usage(err)
	}
	p, err := headplan.Read(c.In, c.Patterns)
	if err != nil {
		return err
	}
	data, err := p.Encode(c.To)
	if err != nil {
		return err
	}
	return out.Write(c.Out, data)
}

type planCompileCmd struct {
	File     string       `arg:"" help:"Head plan, of MInference or minfc."`
	Out      string       `short:"o" required:"" placeholder:"OUT.minf" help:"Artifact to write; - is standard output."`
	Target   flags.Target `default:"auto" help:"GPU generation to compile for: one of ${targets}; auto puts the kernels of all into the artifact. Default: auto."`
	HeadDim  int          `required:"" placeholder:"D" help:"Head dim: ${headdims}."`
	DType    flags.DType  `name:"dtype" required:"" placeholder:"${dtype}" help:"Type of q, k, v and o: ${dtypes}."`
	Heads    int          `placeholder:"N" help:"Query heads to compile for: all of the model's, or with --heads-from the ones that a rank holds. Default: up to the last one that the plan names."`
	First    *int         `name:"heads-from" placeholder:"N" help:"First of the plan's query heads to compile for, where a process holds a part of them, as under tensor parallelism. Default: all heads."`
	Patterns string       `placeholder:"FILE" help:"Patterns beyond the library's that the plan names: pattern file or artifact."`
}

func (c *planCompileCmd) Run(out *console.Console) error {
	if err := files.Distinct([]string{c.File, c.Patterns}, []string{c.Out}); err != nil {
		return failure.Usage(err)
	}
	p, err := headplan.Read(c.File, c.Patterns)
	if err != nil {
		return err
	}
	if c.First != nil {
		if p, err = p.From(*c.First, c.Heads); err != nil {
			return err
		}
	}
	layers, err := p.Heads(c.Heads)
	if err != nil {
		return err
	}
	art, err := p.Compile(compile.Options{Target: string(c.Target), DType: abi.DType(c.DType), HeadDim: c.HeadDim}, warnings(out), layers...)
	if err != nil {
		return err
	}
	bytes, err := writeArtifact(out, c.Out, art)
	if err != nil {
		return err
	}
	out.Note("%s: %d layers of %d heads, %d patterns, head dim %d, %s, %d bytes",
		c.Out, len(layers), len(layers[0]), len(art.Manifest.Patterns), c.HeadDim, c.DType, bytes)
	return nil
}
