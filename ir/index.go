package ir

// The index stage: values that are computed from q and k of one head before attention, and decide what is kept.
//
// A definition has a type, which says over what its numbers range. Types keep nonsense out: a sum over diagonals cannot
// choose columns.

// IndexDef is one named definition of the index stage, in order; later ones may use earlier ones.
type IndexDef struct {
	Name  string
	Value Index
}

// Index is a value of the index stage.
type Index interface{ isIndex() }

// BlockSize is the side of the tiles that cover what the data chose: 64 queries by 64 keys, as in MInference 1.0.
const BlockSize = 64

type (
	// Probe is the logits q*k/sqrt(head dim) of some queries with all keys, causal: -inf where the key comes after the
	// query. The queries are the Last ones (fewer if there are not that many), or every Stride-th one when Last is nil.
	// Type: scores [queries, keys].
	Probe struct {
		Last   *Poly
		Stride *Poly
	}
	// Softmax normalises each row of scores over its keys, in float32 or better. Type: probabilities. Of block scores it
	// normalises the scaled scores of each query block over its key blocks. Type: shares of blocks. Of scores of squares it
	// normalises each row of squares. Type: probabilities of squares.
	Softmax struct{ Of string }
	// Antidiagonals cuts queries and keys into squares of Step by Step, from row 0 and key 0 on: the score of a square is the
	// mean of the logits q*k/sqrt(head dim) on its antidiagonal, which meets every row and every column of it once
	// (XAttention, arXiv 2503.16428). Rows and keys past the end count as 0; a square counts if it begins no later than its
	// last query. Type: scores of squares [rows of squares, columns of squares]. Step is a power of 2 from 2 to BlockSize.
	Antidiagonals struct{ Step int }
	// Sum adds up probabilities: over queries (type: values over columns), over diagonals (values over distances), those of
	// squares over blocks, as the mean over the rows of squares of a query block (shares of blocks).
	Sum struct {
		Of   string
		Over Axis
	}
	// Pool reduces blocks of BlockSize consecutive rows of q or k to one row. Type: pooled rows. The last block may be shorter.
	Pool struct {
		Of   Tensor
		With Reduction
	}
	// BlockScores is the product of pooled q and pooled k, neither scaled nor normalised, causal at block level: a key block
	// counts if it begins no later than the query block ends. Type: values over blocks, per query block.
	BlockScores struct{ Q, K string }
	// Select chooses from values: over columns, over distances, or over key blocks per query block. Ties go to the smaller
	// column, distance or block; sums whose terms are equal row by row tie. First and Last force that many members at either end (columns: the first keys; distances:
	// the nearest; blocks: Last is the diagonal block and those before it); forced ones count within the budget. Where the
	// rule would choose more than Most, the Most largest stay, forced ones before all.
	// Type: chosen columns, distances or blocks.
	Select struct {
		Of          string
		Rule        Rule
		N           Poly // Top: how many. TopP: mass in thousandths. Above: threshold in millionths
		First, Last Poly
		Most        *Poly // nil: no limit
	}
)

func (Probe) isIndex()         {}
func (Softmax) isIndex()       {}
func (Antidiagonals) isIndex() {}
func (Sum) isIndex()           {}
func (Pool) isIndex()          {}
func (BlockScores) isIndex()   {}
func (Select) isIndex()        {}

// Axis is what a sum runs over.
type Axis uint8

const (
	OverQueries Axis = iota
	OverDiagonals
	OverBlocks
)

// Tensor is an input of the index stage.
type Tensor uint8

const (
	TensorQ Tensor = iota
	TensorK
)

// Reduction is how a pool reduces a block.
type Reduction uint8

const (
	ReduceMean Reduction = iota
	ReduceMax
)

// Rule is how Select decides.
type Rule uint8

const (
	Top   Rule = iota // the N largest
	TopP              // the largest until they hold the share of all mass
	Above             // all above a threshold
)

// Chosen is the set that a Select of the index stage chose. Its kind follows from the definition's type:
//
//	columns    k is a chosen column
//	distances  q-k is a chosen distance; computed as whole tiles: see Cover in the interpreter
//	blocks     the 64x64 block of (row of q, k) was chosen
type Chosen struct {
	Name string
	Kind ChosenKind
}

func (Chosen) isSet() {}

// ChosenKind is what a Select ranges over.
type ChosenKind uint8

const (
	ChosenColumns ChosenKind = iota
	ChosenDistances
	ChosenBlocks
)

// The cover of chosen distances. Query rows are cut into blocks of BlockSize rows from row 0; s is the absolute position of
// a block's first row. A distance d means the keys [s-d, s-d+64) of that block. The tiles of a head are relative to s, so
// one list serves all blocks; with the distances ascending d0 < d1 < ...:
//
//	tile 0 begins at s-d0 (it covers every distance up to L = d0)
//	for the next distance d > L:  L' = L+64 if d <= L+64 (the run goes on), else L' = d (a new run);  a tile begins at s-L'
//
// so tiles never overlap, and key k is covered in block s iff some tile has L <= s-k+63 < L+64 (delta = s-k+63).
// Tiles are intersected with whatever else the pattern says (causal) and with [0, sk).

// SourceKind says where the keys of a segment come from.
type SourceKind uint8

const (
	SourceRange   SourceKind = iota // all keys of the band, in order
	SourceRuns                      // the cover tiles of chosen distances
	SourceBlocks                    // chosen key blocks
	SourceColumns                   // chosen columns, read from compacted copies of K and V
)

// Source is where the keys of a segment come from; Name is the Select for all kinds but SourceRange.
type Source struct {
	Kind SourceKind
	Name string
}
