package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"github.com/minfc/minfc/internal/cost"
)

// A target's tables lie in the document between these lines.
func (t target) begin() string {
	return fmt.Sprintf("<!-- begin %s: written by go run ./tools/costfit -write -->\n", t.name)
}

func (t target) end() string { return fmt.Sprintf("<!-- end %s -->\n", t.name) }

// tables compares the target's measurements with their predictions.
func (f fitting) tables() ([]byte, error) {
	var b bytes.Buffer
	if len(f.rows)+len(f.lists) == 0 {
		fmt.Fprintf(&b, "No measurements of %s code are in docs/bench: its rates are not fitted.\n", f.name)
	}
	if len(f.rows) > 0 {
		if err := f.tileTable(&b); err != nil {
			return nil, err
		}
	}
	if len(f.lists) > 0 {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		if err := f.listTable(&b); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// tileTable has each row with its prediction, and with the prediction of rates fitted to all other rows.
func (f fitting) tileTable(b *bytes.Buffer) error {
	b.WriteString("| case | length | heads | D | measured ms | predicted ms | error | error, fitted without this row | bound |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for i, x := range f.rows {
		p, err := f.machine.Price(x.counts)
		if err != nil {
			return err
		}
		w := x.work
		fmt.Fprintf(b, "| %s | %d | %d/%d | %d %s | %.3f | %.3f | %+.1f%% | %+.1f%% | %s |\n", x.name, w.SeqQ, w.QHeads, w.KVHeads,
			w.HeadDim, w.DType, x.ms, p.Milliseconds, 100*(p.Milliseconds/x.ms-1), 100*f.unseen[i], p.Bound)
	}
	return nil
}

// listTable has the attention kernels of patterns that data decides.
func (f fitting) listTable(b *bytes.Buffer) error {
	b.WriteString("| pattern | lists | length | heads | D | measured ms | predicted ms | error |\n|---|---|---|---|---|---|---|---|\n")
	for _, x := range f.lists {
		ms, err := x.millis(f.machine)
		if err != nil {
			return err
		}
		c, had := x.call, x.row.AttentionMS
		fmt.Fprintf(b, "| %s | %s | %d | %d/%d | %d %s | %.3f | %.3f | %+.1f%% |\n", x.row.Label(), x.lists, x.row.SeqLen, c.QHeads, c.KVHeads,
			c.HeadDim, c.DType, had, ms, 100*(ms/had-1))
	}
	return nil
}

// leaveOneOut makes fitting.unseen.
func (f fitting) leaveOneOut() ([]float64, error) {
	var out []float64
	for i, x := range f.rows {
		p := problem[cost.Rates]{f.tiles, func(m *cost.Machine) *cost.Rates { return &m.Rates },
			tileRatios(slices.Delete(slices.Clone(f.rows), i, i+1))}
		others, err := p.fit(f.machine, leftOutSteps)
		if err != nil {
			return nil, err
		}
		price, err := others.Price(x.counts)
		if err != nil {
			return nil, err
		}
		out = append(out, price.Milliseconds/x.ms-1)
	}
	return out, nil
}

// replaceTables puts the target's tables into the document.
func (t target) replaceTables(file string, tables []byte) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(t.begin()))
	_, after, ok2 := bytes.Cut(rest, []byte(t.end()))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q to put the table between", file, t.begin(), t.end())
	}
	return os.WriteFile(file, slices.Concat(before, []byte(t.begin()), tables, []byte(t.end()), after), 0o644)
}
