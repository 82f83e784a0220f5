package abi

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/ir"
)

// The kernels of the index stage: their names and parameters. What the numbers mean stands beside the code of each, in package
// internal/codegen/index. Sizes are in bytes; H is batch times q heads, the number of blocks along x, y or z.

// Names of kernels. The kernels of a probe, and recall_stats, come in sizes, named ".1", ".2" and ".4".
const (
	StoreWords   = "store_words"
	Clear        = "clear"
	ProbeStats   = "probe_stats"
	ProbeCombine = "probe_combine"
	ProbeSums    = "probe_sums"
	SelectTop    = "select_top"
	SelectMass   = "select_mass"
	SelectAbove  = "select_above"
	RunSums      = "run_sums"
	RunDistances = "run_distances"
	SelectNear   = "select_near"
	Runs         = "runs"
	Columns      = "columns"
	Compact      = "compact"
	Means        = "means"
	KeptBlocks   = "kept_blocks"
	PoolMean     = "pool_mean"
	PoolMax      = "pool_max"
	PoolMean128  = "pool_mean_128"
	PoolMax128   = "pool_max_128"
	BlockScores  = "block_scores"
	SquareScores = "square_scores"
	BlockShares  = "block_shares"
	Decide       = "decide"
	GroupMean    = "group_mean"
	GroupShares  = "group_shares"
	RecallStats  = "recall_stats"
	Recall       = "recall"

	BlockSelect      = "block_select"
	BlockSelectMass  = "block_select_mass"
	BlockSelectAbove = "block_select_above"
	BlockSelectNear  = "block_select_near"
)

// Spread names the kernel of a probe for rows that lie a step apart.
func Spread(kernel string) string { return kernel + "_spread" }

// PackedRows are the rows of a head of packed probes: so many last rows of each q head of a kv head share the ProbeRows rows of a tile.
var PackedRows = []int64{16, 32}

// Packed names the kernel of a probe whose tiles have so many rows of each head.
func Packed(kernel string, rows int64) string { return fmt.Sprintf("%s_packed%d", kernel, rows) }

// CombinePacked is probe_combine for packed probes.
const CombinePacked = ProbeCombine + "_packed"

// DecideByGroup is decide for lists that the q heads of a kv head have in common.
const DecideByGroup = "decide_by_group"

// SelectKernels and BlockSelectKernels are the kernels that choose, by rule.
var (
	SelectKernels      = []string{ir.Top: SelectTop, ir.TopP: SelectMass, ir.Above: SelectAbove, ir.NearMax: SelectNear}
	BlockSelectKernels = []string{ir.Top: BlockSelect, ir.TopP: BlockSelectMass, ir.Above: BlockSelectAbove,
		ir.NearMax: BlockSelectNear}
)

// Attend is the attention kernel of a pattern, Dense the kernel of the heads that run without sparsity.
const (
	Attend = "attend"
	Dense  = "dense"
)

// Sizes that programs and kernels share.
const (
	StoreWordsCount = 64 // words that one launch of store_words writes
	ProbeRows       = 64 // query rows that one launch of a probe looks at
	ClearThreads    = 256
	RunsPerBlock    = 32   // runs of distances that one block of run_sums adds up
	RunWords        = 256  // words of a bitmap that one block of run_distances writes
	MeanElements    = 1024 // elements that one block of group_mean writes
	CompactRows     = 64   // columns that one block of compact gathers: a slot of the attention kernel
	ScoreRows       = 64   // row blocks and key blocks of one block of block_scores
	ScoreKeys       = 128
	SquareTile      = 128               // rows and columns of squares of one block of square_scores
	SelectKeys      = 32                // scores that a thread of block_select holds
	MaxKeyBlocks    = SelectKeys * 1024 // that block_select can choose from, in its largest block: two million tokens
)

// ProbeHeadsPerBlock are the sizes in which the kernels of a probe come: q heads of one kv head that a block takes.
var ProbeHeadsPerBlock = []int64{1, 2, 4}

// PacksPerBlock are the sizes of packed probes: packs that a block takes. Four of them would spill on A100.
var PacksPerBlock = []int64{1, 2}

const (
	probeTensors = "q_batch q_head q_row k_batch k_head k_row i32 sq sk q_offset group hq chunk_tiles f32 scale_log2 ptr heads"
	packedParams = " i32 q_group probe_rows"
	spreadParams = " i32 row0 probe_rows step class_tiles tiles"
	scoresPad    = "4*64*ceildiv(ceildiv(sk, 64), 64)" // bytes of a row of scores
	colSumBytes  = "4*64*ceildiv(sk, 64)*hq*grid_z"
	diagSumBytes = "4*(64*ceildiv(q_offset + sq, 64) + 128)*hq*grid_z"
	runNumbers   = "i32 run n stride run_stride hq ptr heads"
	selectBounds = " most[reads 4*hq] least[reads 4*hq]"
	blockBounds  = " ptr block_most[reads 4*hq] block_least[reads 4*hq]"
	probeStats   = "ptr q k probe_stats[writes 512*grid_x*hq*grid_z] i64 " + probeTensors
)

func probeSums(also string) string {
	return fmt.Sprintf("ptr q k probe_lse[reads 512*hq*grid_z] col_sum[%[1]swrites %[2]s] diag_sum[%[3]swrites %[4]s] i64 %[5]s",
		strings.ReplaceAll(also, "BYTES", colSumBytes), colSumBytes, strings.ReplaceAll(also, "BYTES", diagSumBytes), diagSumBytes, probeTensors)
}

// IndexParams are the parameters of each kernel of the index stage, in the order of its PTX entry.
var IndexParams = map[string][]Param{
	StoreWords: storeWords(),
	Clear:      Typed("ptr to[writes 16*n] i64 n"),
	ProbeStats: Typed(probeStats),
	ProbeCombine: Typed("ptr probe_stats[reads 512*chunks*hq*grid_z] probe_lse[writes 512*hq*grid_z] " +
		"i32 chunks hq f32 scale_log2 ptr heads"),
	CombinePacked: Typed("ptr probe_stats[reads 512*chunks*hq*grid_z] probe_lse[writes 512*hq*grid_z] " +
		"i32 chunks hq packs f32 scale_log2 ptr heads"),
	ProbeSums:          Typed(probeSums("")),
	Spread(ProbeStats): Typed(probeStats + spreadParams),
	Spread(ProbeSums):  Typed(probeSums("reads BYTES ") + spreadParams),

	SelectTop:   selectJobs("", ""),
	SelectMass:  selectJobs(selectBounds, " unit"),
	SelectAbove: selectJobs(selectBounds, ""),
	SelectNear:  selectJobs(selectBounds, ""),

	RunSums:      Typed("ptr diag_sum[reads 4*stride*grid_y] run_sum[writes 4*run_stride*grid_y] " + runNumbers),
	RunDistances: Typed("ptr run_bits[reads floordiv(run_stride, 8)*grid_y] bits[writes floordiv(stride, 8)*grid_y] " + runNumbers),

	Runs: Typed("ptr dist_bits[reads 4*words*grid_x] runs[writes 4*run_cap*grid_x] run_count[writes 4*grid_x] " +
		"covered[writes 4*cover_words*grid_x] i32 words run_cap cover_words ptr heads"),
	Columns: Typed("ptr col_bits[reads 4*words*grid_x] cols[writes 4*col_cap*grid_x] col_count[writes 4*grid_x] i32 words col_cap ptr heads"),
	Compact: Typed("ptr k v i64 k_batch k_head k_row v_batch v_head v_row ptr cols[reads 4*col_cap*grid_y] col_count[reads 4*grid_y] " +
		"kc[writes 2*head_dim*col_cap*grid_y] vc[writes 2*head_dim*col_cap*grid_y] i32 col_cap group hq"),

	Means: Typed("ptr k v i64 k_batch k_head k_row v_batch v_head v_row ptr kc[writes 2*head_dim*col_cap*group*grid_y*grid_z] " +
		"vc[writes 2*head_dim*col_cap*group*grid_y*grid_z] i32 sk pool col_cap group"),
	KeptBlocks: Typed("ptr blocks[reads 4*block_cap*grid_x*grid_y] block_count[reads 4*grid_x*grid_y] kept[writes 4*kept_words*grid_x*grid_y] " +
		"i32 block_cap kept_words ptr heads"),

	PoolMean: pool, PoolMean128: pool,
	PoolMax: pool, PoolMax128: pool,
	BlockScores: Typed("ptr pooled_q[reads 4*head_dim*ceildiv(sq, 64)*grid_z] pooled_k[reads 4*head_dim*ceildiv(sk, 64)*ceildiv(grid_z, group)] " +
		"scores[writes " + scoresPad + "*slab*grid_z] i32 sq sk q_offset group slab_start slab ptr heads"),
	SquareScores: Typed("ptr q k scores[writes " + scoresPad + "*floordiv(64*slab, fold)*grid_z] sums[writes " + scoresPad + "*floordiv(64*slab, fold)*grid_z] " +
		"i64 q_batch q_head q_row k_batch k_head k_row i32 sq sk q_offset group hq slab_start slab fold f32 scale ptr heads"),
	BlockShares: Typed("ptr scores[reads " + scoresPad + "*floordiv(64*slab, fold)*grid_y] sums[reads " + scoresPad + "*floordiv(64*slab, fold)*grid_y] " +
		"shares[writes " + scoresPad + "*slab*grid_y] i32 sq sk q_offset slab_start slab fold f32 scale ptr heads"),

	BlockSelect:      blockSelect(""),
	BlockSelectMass:  blockSelect(blockBounds),
	BlockSelectAbove: blockSelect(blockBounds),
	BlockSelectNear:  blockSelect(blockBounds),

	RecallStats: Typed(probeStats + " i32 row0 probe_rows step"),
	Recall: Typed("ptr probe_lse[reads 512*hq*grid_z] lse mass mass_rows i64 lse_batch lse_head i32 hq row0 probe_rows step before sampled " +
		"f32 scale_log2 ptr heads"),

	Lengths: Typed("ptr lengths seq_q seq_k offsets starts_q starts_k i32 batch ragged sq sk q_offset total_q total_k"),

	Decide:        decide("grid_x", ""),
	DecideByGroup: decide("ceildiv(grid_x, group)", " i32 group"),

	GroupMean: Typed("ptr values[reads 4*stride*group*grid_y] mean[writes 4*stride*grid_y] i32 n stride group per hq ptr heads"),
	GroupShares: Typed("ptr shares[reads " + scoresPad + "*slab*group*grid_y] mean[writes " + scoresPad + "*slab*grid_y] " +
		"i32 sk sq q_offset slab_start slab group hq ptr heads"),
}

// decide are the parameters of a kernel that decides from lists, of which there are so many.
func decide(lists, more string) []Param {
	return Typed(strings.ReplaceAll("ptr route[writes 4*grid_x] nanos[writes 4*grid_x] runs[reads 4*run_cap*LISTS] run_count[reads 4*LISTS] "+
		"cols[reads 4*col_cap*LISTS] col_count[reads 4*LISTS] block_count[reads 4*row_blocks*LISTS] "+
		"i32 run_cap run_low run_reach col_cap col_high col_near row_blocks sq q_offset carry f32 start slot column dense ptr heads", "LISTS", lists) + more)
}

var pool = Typed("ptr x out[writes 4*head_dim*ceildiv(n, 64)*grid_y*grid_z] i64 x_batch x_head x_row i32 n q_heads ptr heads")

func storeWords() []Param {
	out := Typed("ptr to[writes 256]")
	for i := range StoreWordsCount / 2 {
		out = append(out, Param{Name: fmt.Sprintf("w%d", i), Type: "i64"})
	}
	return out
}

// selectJobs are the parameters of a kernel that chooses columns or distances: two jobs of one form.
func selectJobs(pointers, numbers string) []Param {
	var out []Param
	for _, job := range []string{"a_", "b_"} {
		list := "ptr values[reads 4*STRIDE*grid_x] bits[writes floordiv(STRIDE, 8)*grid_x] budget[reads 4*hq]" + pointers +
			" i32 first last n stride" + numbers
		for _, p := range Typed(strings.ReplaceAll(list, "STRIDE", job+"stride")) {
			p.Name = job + p.Name
			out = append(out, p)
		}
	}
	return append(out, Typed("i32 hq ptr heads")...)
}

func blockSelect(more string) []Param {
	return Typed("ptr scores[reads " + scoresPad + "*slab*grid_y] block_n[reads 4*hq] blocks[writes 4*block_cap*ceildiv(sq, 64)*grid_y] " +
		"block_count[writes 4*ceildiv(sq, 64)*grid_y] i32 hq sq sk q_offset slab_start slab block_cap first last ptr heads" + more)
}
