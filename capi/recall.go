//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"github.com/minfc/minfc"
	"github.com/minfc/minfc/runtime/device"
)

// attentionCall is an open call of attention.
func attentionCall(h handle) (*preparedCall, error) {
	c, err := calls.get(h)
	if err == nil && c.recall != nil {
		err = device.BadCall("the call is a recall, want one of minfc_prepare")
	}
	return c, err
}

// prepareRecall prepares a recall of some rows of a call. Rows of step 0 become the rows that they stand for.
func prepareRecall(of handle, rows []minfc.RowRange) (out handle, workspace int64, err error) {
	c, err := attentionCall(of)
	if err != nil {
		return 0, 0, err
	}
	if len(rows) == 0 {
		return 0, 0, device.BadCall("row_count says that there are no rows, want one range or more")
	}
	for i, r := range rows {
		if r.Step == 0 {
			rows[i] = minfc.SampleRows(c.Shape().SeqQ, r.Count, uint64(uint32(r.First)))
		}
	}
	if err := c.of.hold(); err != nil {
		return 0, 0, err
	}
	recall, err := c.of.PrepareRecall(c.Call, rows...)
	if err == nil {
		out, err = calls.put(&preparedCall{recall: recall, of: c.of})
	}
	if err != nil {
		c.of.release()
		return 0, 0, err
	}
	return out, recall.Workspace(), nil
}
