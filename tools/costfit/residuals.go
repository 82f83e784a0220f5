package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"github.com/minfc/minfc/cost"
)

// The table lies in the document between these lines.
const (
	tableBegin = "<!-- begin: written by go run ./tools/costfit -write -->\n"
	tableEnd   = "<!-- end -->\n"
)

// residualTable compares each row with its prediction, and with that of rates fitted to all other rows.
func residualTable(m cost.Machine, rows []measurement, leftOut []float64) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("| case | length | heads | D | measured ms | predicted ms | error | error, fitted without this row | bound |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for i, x := range rows {
		p, err := m.Price(x.counts)
		if err != nil {
			return nil, err
		}
		w := x.work
		fmt.Fprintf(&b, "| %s | %d | %d/%d | %d %s | %.3f | %.3f | %+.1f%% | %+.1f%% | %s |\n", x.name, w.SeqQ, w.QHeads, w.KVHeads,
			w.HeadDim, w.DType, x.ms, p.Milliseconds, 100*(p.Milliseconds/x.ms-1), 100*leftOut[i], p.Bound)
	}
	return b.Bytes(), nil
}

// leaveOneOut returns, for each row, the relative error of rates that were fitted to the other rows.
func leaveOneOut(m cost.Machine, rows []measurement) ([]float64, error) {
	var out []float64
	for i, x := range rows {
		others, err := fit(m, slices.Delete(slices.Clone(rows), i, i+1), leftOutSteps)
		if err != nil {
			return nil, err
		}
		p, err := others.Price(x.counts)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Milliseconds/x.ms-1)
	}
	return out, nil
}

// replaceTable puts the table into the document.
func replaceTable(file string, table []byte) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := bytes.Cut(text, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q to put the table between", file, tableBegin, tableEnd)
	}
	return os.WriteFile(file, slices.Concat(before, []byte(tableBegin), table, []byte(tableEnd), after), 0o644)
}
