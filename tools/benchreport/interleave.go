package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
)

// report is one file of measurements, as bench/interleave.py writes it.
type report struct {
	Title   string `json:"title"`
	Device  string `json:"device"`
	CUDA    string `json:"cuda"`
	Torch   string `json:"torch"`
	Date    string `json:"date"`
	Command string `json:"command"`
	Rows    []row  `json:"rows"`
}

type row struct {
	Case      string           `json:"case"` // pattern:seqlen:heads:kvheads:headdim:dtype:files[:params]
	Kernel    string           `json:"kernel"`
	Error     string           `json:"error"`
	MS        *float64         `json:"ms"`
	TFLOPS    *float64         `json:"tflops"` // counting kept pairs only
	VsFA2     *float64         `json:"vs_fa2"`
	Checks    map[string]check `json:"errors"`
	Registers *int             `json:"registers"`
	Local     *int             `json:"local_bytes"`
}

// check is a comparison with float64.
type check struct {
	Frobenius float64 `json:"frobenius"`
	WorstRow  float64 `json:"worst_row"`
	LSE       float64 `json:"lse"`
}

func (r report) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## %s\n\n%s, CUDA driver %s, torch %s, %s.\n\n    %s\n\n", r.Title, r.Device, r.CUDA, r.Torch, r.Date, r.Command)
	b.WriteString("| case | length | heads | D | kernel | ms | TFLOP/s | vs FA2 | registers (local bytes) | random: rel, row, LSE | structured: rel, row, LSE |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		x.write(b)
	}
}

func (x row) write(b *bytes.Buffer) {
	c := strings.Split(x.Case, ":")
	name, heads := c[0], c[2]
	if len(c) > 7 {
		name += " " + c[7]
	}
	if c[3] != c[2] {
		heads += "/" + c[3]
	}
	if x.Error != "" {
		fmt.Fprintf(b, "| %s | %s | %s | %s | failed: %s | | | | | | |\n", name, c[1], heads, c[4], x.Error)
		return
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s %s | %s | %s | %s | %s | %s | %s | %s |\n", name, c[1], heads, c[4], c[5], filepath.Base(x.Kernel),
		number(x.MS, "%.3f"), number(x.TFLOPS, "%.0f"), number(x.VsFA2, "%.3f"), x.resources(), x.checked("random"), x.checked("structured"))
}

func number(v *float64, format string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, *v)
}

func (x row) resources() string {
	if x.Registers == nil || x.Local == nil {
		return ""
	}
	return fmt.Sprintf("%d (%d)", *x.Registers, *x.Local)
}

func (x row) checked(input string) string {
	c, ok := x.Checks[input]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.1e, %.1e, %.1e", c.Frobenius, c.WorstRow, c.LSE)
}
