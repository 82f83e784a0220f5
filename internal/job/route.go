package job

import (
	"fmt"

	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/runtime"
)

// routes says which heads ran without sparsity because that was predicted to be faster, and by what figures.
func (j *Job) routes(res runtime.HostResult) (out []summary.Route) {
	if len(res.Chosen) > 0 && j.NoFallback {
		return []summary.Route{{Kind: "sparse", Why: fmt.Sprintf("all %d heads, also where dense attention may be faster (--fallback)", len(res.Chosen))}}
	}
	groups := map[bool]*routed{true: {}, false: {}}
	for h, c := range res.Chosen {
		if c.DenseMS > 0 {
			groups[c.Dense].add(h, c)
		}
	}
	if dense := groups[true]; len(dense.heads) > 0 {
		out = append(out, summary.Route{Kind: "dense", Why: fmt.Sprintf("%s, predicted %s", j.nameHeads(dense.heads), dense.against(dense.denseMS, dense.sparseMS))})
	}
	if sparse := groups[false]; len(sparse.heads) > 0 {
		out = append(out, summary.Route{Kind: "sparse", Why: fmt.Sprintf("%s, predicted %s", j.nameHeads(sparse.heads), sparse.against(sparse.sparseMS, sparse.denseMS))})
	}
	return out
}

// routed are heads that ran the same kernel, with their predicted times, one after the other.
type routed struct {
	heads             []int
	sparseMS, denseMS float64
	unread            bool // nothing was chosen: the sparse time is the least that it could have been
}

func (r *routed) add(head int, c runtime.Chosen) {
	r.heads = append(r.heads, head)
	r.sparseMS, r.denseMS = r.sparseMS+c.SparseMS, r.denseMS+c.DenseMS
	r.unread = r.unread || len(c.Asked.Sets) == 0
}

func (r *routed) against(ran, other float64) string {
	text := fmt.Sprintf("%.3g ms against %.3g", ran, other)
	if r.unread {
		text += " at least, the choice included"
	}
	return text
}

// nameHeads counts the heads, and names them where there is one batch.
func (j *Job) nameHeads(heads []int) string {
	all := j.In.Batch * j.In.QHeads
	switch {
	case len(heads) == all:
		return fmt.Sprintf("all %d heads", all)
	case j.In.Batch == 1:
		return runtime.ListHeads(heads)
	}
	return fmt.Sprintf("%d of %d heads", len(heads), all)
}
