package ir

import (
	"errors"
	"fmt"
	"math"
)

// BlockScores is the product of pooled q and pooled k, neither scaled nor normalised, causal at block level: a key block
// counts if it begins no later than the query block ends. Type: values over blocks, per query block.
type BlockScores struct{ Q, K string }

func (BlockScores) Word() string         { return "blocks" }
func (x BlockScores) Operands() []string { return []string{x.Q, x.K} }
func (x BlockScores) text() string       { return fmt.Sprintf("blocks %s %s", x.Q, x.K) }

func (c *cursor) blocks() Index {
	q := c.name()
	return BlockScores{q, c.name()}
}

func (x BlockScores) typed(kinds map[string]IndexKind) (IndexKind, error) {
	return KindBlockValues, errors.Join(wantKind(kinds, x.Q, KindPooledQ), wantKind(kinds, x.K, KindPooledK))
}

// blockScores are the scores of the candidates of each row block, or their shares.
type blockScores [][]float64

func (x BlockScores) eval(e *indexEval) (any, error) {
	q, err := resultOf[pooled](e, x.Q)
	if err != nil {
		return nil, err
	}
	k, err := resultOf[pooled](e, x.K)
	if err != nil {
		return nil, err
	}
	out := make(blockScores, len(q))
	for t := range q {
		last := e.offset + min(BlockSize*(t+1), e.sq) - 1
		out[t] = make([]float64, min(len(k), last/BlockSize+1))
		inParallel(len(out[t]), manyProducts, func(b int) {
			if out[t][b] = dot(q[t], k[b]); math.IsNaN(out[t][b]) {
				out[t][b] = math.Inf(-1)
			}
		})
	}
	return out, nil
}
