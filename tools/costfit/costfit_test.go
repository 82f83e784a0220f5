package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/cost"
)

func measured(t *testing.T) (cost.Machine, []measurement) {
	t.Helper()
	rows, err := readAll([]string{root(measuredFile)})
	require.NoError(t, err)
	m, err := committed()
	require.NoError(t, err)
	return m, rows
}

func root(path string) string { return filepath.Join("..", "..", path) }

// TestPredictionsMeetMeasurements: within 5% of every committed measurement of 16K and more, 10% below.
func TestPredictionsMeetMeasurements(t *testing.T) {
	m, rows := measured(t)
	require.Greater(t, len(rows), 10)
	for _, x := range rows {
		p, err := cost.Predict(m, x.work)
		require.NoError(t, err)
		limit := 0.05
		if x.work.SeqQ < 16<<10 {
			limit = 0.10
		}
		require.InEpsilon(t, x.ms, p.Milliseconds, limit, "%s at %d, head dim %d", x.name, x.work.SeqQ, x.work.HeadDim)
	}
}

// TestPredictionsOfUnseenCases: the same within 15% with rates fitted without the case, also where that leaves no other
// case of its head dim.
func TestPredictionsOfUnseenCases(t *testing.T) {
	m, rows := measured(t)
	errors, err := leaveOneOut(m, rows)
	require.NoError(t, err)
	for i, x := range rows {
		require.Less(t, math.Abs(errors[i]), 0.15, "%s at %d, head dim %d", x.name, x.work.SeqQ, x.work.HeadDim)
	}
	table, err := residualTable(m, rows, errors)
	require.NoError(t, err)
	onAMD64(t)
	doc, err := os.ReadFile(root(docFile))
	require.NoError(t, err)
	require.True(t, bytes.Contains(doc, table), "%s has another table: run go run ./tools/costfit -write", docFile)
}

// TestCommittedRates: what is committed is what the measurements say.
func TestCommittedRates(t *testing.T) {
	onAMD64(t)
	_, rows := measured(t)
	m, err := fitted(rows)
	require.NoError(t, err)
	have, err := os.ReadFile(root(ratesFile))
	require.NoError(t, err)
	require.Equal(t, string(ratesSource(m.Rates)), string(have), "run go run ./tools/costfit -write")
}

func onAMD64(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors round a product and a sum at once, so last digits differ")
	}
}

// TestFitFindsRates: rates are found again from times that they predict.
func TestFitFindsRates(t *testing.T) {
	m, rows := measured(t)
	truth := m
	truth.Rates.TensorTFLOPS *= 0.8
	truth.Rates.SoftmaxPicos *= 1.3
	for i := range rows {
		p, err := truth.Price(rows[i].counts)
		require.NoError(t, err)
		rows[i].ms = p.Milliseconds
	}
	m, err := fit(m, rows, maxSteps)
	require.NoError(t, err)
	require.InEpsilon(t, truth.Rates.TensorTFLOPS, m.Rates.TensorTFLOPS, 0.1)
	require.InEpsilon(t, truth.Rates.SoftmaxPicos, m.Rates.SoftmaxPicos, 0.1)
	for _, x := range rows {
		p, err := m.Price(x.counts)
		require.NoError(t, err)
		require.InEpsilon(t, x.ms, p.Milliseconds, 0.01)
	}
}

func TestBadMeasurements(t *testing.T) {
	for text, want := range map[string]string{
		`{"rows": []}`: "no timed kernel of ours",
		`{`:            "unexpected end of JSON input",
		`{"rows": [{"case": "dense:32:1", "kernel": "x.minf", "ms": 1}]}`:                   `case "dense:32:1": it has 3 parts, want at least 7`,
		`{"rows": [{"case": "dnse:32:1:1:64:bf16:x.minf", "kernel": "x.minf", "ms": 1}]}`:   `the library has no pattern "dnse"`,
		`{"rows": [{"case": "dense:32k:1:1:64:bf16:x.minf", "kernel": "x.minf", "ms": 1}]}`: `parsing "32k": invalid syntax`,
	} {
		file := filepath.Join(t.TempDir(), "x.json")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		_, err := readAll([]string{file})
		require.ErrorContains(t, err, want)
	}
	doc := filepath.Join(t.TempDir(), "x.md")
	require.NoError(t, os.WriteFile(doc, []byte("a\n"+tableBegin+"old\n"+tableEnd+"b\n"), 0o644))
	require.NoError(t, replaceTable(doc, []byte("new\n")))
	text, err := os.ReadFile(doc)
	require.NoError(t, err)
	require.Equal(t, "a\n"+tableBegin+"new\n"+tableEnd+"b\n", string(text))
	require.NoError(t, os.WriteFile(doc, []byte("a\n"), 0o644))
	require.ErrorContains(t, replaceTable(doc, nil), "has no lines")
}
