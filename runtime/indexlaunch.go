package runtime

import (
	"math"

	"github.com/minfc/minfc/ir"
)

// The launches of the index stage, in the order of the stream. Each stage reads what earlier ones wrote.

// indexLauncher enqueues stages until the first error.
type indexLauncher struct {
	*indexCall
	kernel *LoadedKernel
	stream Stream
	err    error
}

// values are those of a stage's own parameters.
type stageValues map[string]uint64

func (l *indexLauncher) launch(kind string, grid [3]int, threads int, v stageValues) {
	if l.err != nil {
		return
	}
	g := [3]uint32{uint32(grid[0]), uint32(grid[1]), uint32(grid[2])}
	l.err = l.kernel.stage(kind, l.QHeads/l.KVHeads).launch(l.stream, l.call, g, threads, v)
}

// launchIndex enqueues the whole index stage.
func (k *LoadedKernel) launchIndex(s Stream, x *indexCall) error {
	l := &indexLauncher{indexCall: x, kernel: k, stream: s}
	l.storeBudgets()
	if k.plan.has(ir.SourceRuns, ir.SourceColumns) {
		l.probeStages()
		l.selectSums()
	}
	l.listRuns()
	l.listColumns()
	l.chooseBlocks()
	return l.err
}

// storeBudgets writes the budgets of every choice and head.
func (l *indexLauncher) storeBudgets() {
	words := make([]uint64, l.budgetWords()/2)
	for _, n := range l.choices {
		for i, row := range n.rows() {
			for h, b := range row {
				at := (n.row+i)*l.QHeads + h
				words[at/2] |= uint64(uint32(b)) << (32 * (at % 2))
			}
		}
	}
	const each = storeWordsCount / 2
	for i := 0; i < len(words); i += each {
		v := stageValues{"to": l.at("budgets") + uint64(8*i)}
		for j, p := range storeWordNames {
			v[p] = words[i+j]
		}
		l.launch(StageStoreWords, [3]int{1, 1, 1}, 0, v)
	}
}

// storeWordNames are the parameters of store_words that hold words.
var storeWordNames = func() (names []string) {
	for _, p := range storeWordsParams()[1:] {
		names = append(names, p.Name)
	}
	return names
}()

func (l *indexLauncher) budgetAt(row int) uint64 {
	return l.at("budgets") + uint64(4*row*l.QHeads)
}

// probeStages computes what the last queries give to every key and distance.
func (l *indexLauncher) probeStages() {
	stats, lse, tiles := l.at("probe_stats"), l.at("probe_lse"), uint64(l.probe.chunkTiles)
	l.launch(StageProbeStats, l.probe.grid, 0, stageValues{"probe_stats": stats, "chunk_tiles": tiles})
	l.launch(StageProbeCombine, [3]int{1, l.QHeads, l.Batch}, 0,
		stageValues{"probe_stats": stats, "probe_lse": lse, "chunks": uint64(l.probe.grid[0])})
	l.launch(StageProbeSums, l.probe.grid, 0,
		stageValues{"probe_lse": lse, "col_sum": l.at("col_sum"), "diag_sum": l.at("diag_sum"), "chunk_tiles": tiles})
}

// selectSums turns sums into bitmaps, two choices of one rule at a time: they run side by side.
func (l *indexLauncher) selectSums() {
	for rule, kind := range selectStages {
		var jobs []stageValues
		for _, n := range l.choices {
			if n.source.Kind != ir.SourceBlocks && int(n.rule) == rule {
				jobs = append(jobs, l.selectJob(n))
			}
		}
		for ; len(jobs) > 0; jobs = jobs[min(2, len(jobs)):] {
			v, second := stageValues{}, jobs[min(1, len(jobs)-1)]
			for name, x := range jobs[0] {
				v["a_"+name], v["b_"+name] = x, second[name]
			}
			l.launch(kind, [3]int{l.heads, min(2, len(jobs)), 1}, 0, v)
		}
	}
}

func (l *indexLauncher) selectJob(n choiceCall) stageValues {
	v := stageValues{"bits": l.at(bitsName(n)), "budget": l.budgetAt(n.row), "most": l.budgetAt(n.row + 1), "unit": massUnit,
		"first": uint64(n.first), "last": uint64(n.last)}
	if n.source.Kind == ir.SourceColumns {
		v["values"], v["values2"] = l.at("col_sum"), 0
		v["n"], v["stride"] = uint64(l.columns), uint64(l.keysPad())
	} else {
		v["values"], v["values2"] = l.at("diag_sum"), l.at("diag_sum")+uint64(l.size("diag_sum")/2)
		v["n"], v["stride"] = uint64(l.reach), uint64(l.distPad())
	}
	return v
}

func (l *indexLauncher) listRuns() {
	for _, n := range l.choices {
		if n.source.Kind == ir.SourceRuns {
			l.launch(StageRuns, [3]int{l.heads, 1, 1}, 0, stageValues{
				"dist_bits": l.at(bitsName(n)), "words": uint64(l.distPad() / 32),
				"runs": l.at(n.list("runs")), "run_count": l.at(n.list("run_count")), "run_cap": uint64(n.runCap(l.reach)),
				"covered": l.at(n.list("covered")), "cover_words": uint64(l.coverWords()),
			})
		}
	}
}

func (l *indexLauncher) listColumns() {
	for _, n := range l.choices {
		if n.source.Kind == ir.SourceColumns {
			v := l.columnLists(n)
			v["col_bits"], v["words"] = l.at(bitsName(n)), uint64(l.keysPad()/32)
			l.launch(StageColumns, [3]int{l.heads, 1, 1}, 0, v)
			l.compact(n)
		}
	}
}

func (l *indexLauncher) columnLists(n choiceCall) stageValues {
	return stageValues{
		"cols": l.at(n.list("cols")), "col_count": l.at(n.list("col_count")), "col_cap": uint64(n.colCap()),
		"kc": l.at(n.list("kc")), "vc": l.at(n.list("vc")),
	}
}

// compact copies K and V of listed columns.
func (l *indexLauncher) compact(n choiceCall) {
	l.launch(StageCompact, [3]int{n.colCap() / ir.BlockSize, l.heads, 1}, 0, l.columnLists(n))
}

// chooseBlocks scores and chooses blocks, as many row blocks at a time as their scores have room.
func (l *indexLauncher) chooseBlocks() {
	pooled := map[string]bool{}
	for _, n := range l.choices {
		if n.source.Kind != ir.SourceBlocks {
			continue
		}
		for _, p := range []ir.Pool{n.q, n.k} {
			if name := pooledName(p); !pooled[name] {
				l.pool(p)
				pooled[name] = true
			}
		}
		for t := 0; t < l.rowBlocks(); t += l.slab {
			l.chooseSlab(n, t, min(l.slab, l.rowBlocks()-t))
		}
	}
}

func (l *indexLauncher) pool(p ir.Pool) {
	t, n, heads := l.Q, l.SeqQ, l.QHeads
	if p.Of == ir.TensorK {
		t, n, heads = l.K, l.SeqK, l.KVHeads
	}
	if n > 0 {
		l.launch(poolStage(p), [3]int{blocksOf(n), heads, l.Batch}, 0, stageValues{
			"x": uint64(t.Ptr), "out": l.at(pooledName(p)), "n": uint64(n),
			"x_batch": elements(t.BatchStride), "x_head": elements(t.HeadStride), "x_row": elements(t.RowStride),
		})
	}
}

// chooseSlab chooses for the row blocks from t on.
func (l *indexLauncher) chooseSlab(n choiceCall, t, rows int) {
	v := stageValues{
		"pooled_q": l.at(pooledName(n.q)), "pooled_k": l.at(pooledName(n.k)), "scores": l.at("scores"),
		"slab_start": uint64(t), "slab": uint64(rows), "block_n": l.budgetAt(n.row), "block_most": l.budgetAt(n.row + 1),
		"blocks": l.at(n.list("blocks")), "block_count": l.at(n.list("block_count")), "block_cap": uint64(n.blockCap()),
		"first": uint64(n.first), "last": uint64(n.last),
	}
	if l.keyBlocks() > 0 {
		grid := [3]int{(l.keyBlocks() + scoreKeys - 1) / scoreKeys, (rows + scoreRows - 1) / scoreRows, l.heads}
		l.launch(StageBlockScores, grid, 0, v)
	}
	if n.shares {
		v["shares"], v["fold"], v["scale"] = v["scores"], ir.BlockSize, uint64(math.Float32bits(l.scaleLog2))
		l.launch(StageBlockShares, [3]int{rows, l.heads, 1}, 0, v)
	}
	l.launch(n.selectStage(), [3]int{rows, l.heads, 1}, blockSelectThreads(l.keyBlocks()), v)
}

// blockSelectThreads is the block size of block_select: whole warps that hold all scores of a row.
func blockSelectThreads(keyBlocks int) int {
	return 32 * max(1, (keyBlocks+32*blockSelectKeys-1)/(32*blockSelectKeys))
}
