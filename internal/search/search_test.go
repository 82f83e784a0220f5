package search

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/emu"
)

func TestX(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	src, err := Generated(workload.Spec{Kind: workload.Mixed, QHeads: 5, KVHeads: 5, SeqLen: 512, HeadDim: 64, Seed: 1, DType: abi.BF16}, 2, 1)
	require.NoError(t, err)
	known, err := plan.Library()
	require.NoError(t, err)
	m, err := outlook.FindMachine("sm_90a", "")
	require.NoError(t, err)
	start := time.Now()
	r, err := Run(dev, Config{Source: src, Known: known, Text: func(string) string { return "" }, Rule: Allocate, Goal: Goal{By: Density, Limit: 0.3}, Rows: 512, Seed: 1, Machine: m,
		State: "/tmp/search-x.state"})
	require.NoError(t, err)
	data, err := r.Plan.JSON()
	require.NoError(t, err)
	t.Logf("%s", data)
	t.Logf("%+v %v %v %v", r.Total, r.Mass, r.Lost, time.Since(start))
	t.Logf("%+v %v %v", r.Ungated.Total, r.Ungated.Mass, r.Ungated.Lost)
	t.Logf("%d %d %d %d", r.Candidates, r.Rows, r.Needles, r.Refused)
}
