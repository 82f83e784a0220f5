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
func residualTable(m cost.Machine, rows []measurement) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("| case | length | heads | D | measured ms | predicted ms | error | error, fitted without this row | bound |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for i, x := range rows {
		p, err := m.Price(x.counts)
		if err != nil {
			return nil, err
		}
		out, err := leftOut(m, rows, i)
		if err != nil {
			return nil, err
		}
		w := x.work
		fmt.Fprintf(&b, "| %s | %d | %d/%d | %d %s | %.3f | %.3f | %+.1f%% | %+.1f%% | %s |\n", x.name, w.SeqQ, w.QHeads, w.KVHeads,
			w.HeadDim, w.DType, x.ms, p.Milliseconds, 100*(p.Milliseconds/x.ms-1), 100*out, p.Bound)
	}
	return b.Bytes(), nil
}

// leftOut is the relative error for row i of rates that were fitted to the other rows.
func leftOut(m cost.Machine, rows []measurement, i int) (float64, error) {
	m, err := fit(m, slices.Delete(slices.Clone(rows), i, i+1), leftOutSteps)
	if err != nil {
		return 0, err
	}
	p, err := m.Price(rows[i].counts)
	return p.Milliseconds/rows[i].ms - 1, err
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
