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

// Index is a value of the index stage. Each kind of value has a file (indexpool.go is the file of Pool) with its meaning, its text, its
// type and its interpreter, and a row in the table that reads texts, indexReaders.
type Index interface {
	// Word is what a definition is called that has no name of its own: "softmax".
	Word() string
	// Operands are the names of the definitions that the value is computed from.
	Operands() []string

	text() string
	typed(kinds map[string]IndexKind) (IndexKind, error)
	eval(e *indexEval) (any, error)
}

// parameterized are values with numbers that parameters may give.
type parameterized interface {
	Index
	mapPolys(f func(Poly) Poly) Index
	numbers() indexNumbers
}

// indexNumbers are the numbers of a value; budgets say how many members are chosen and nothing else, and so do parts, of which such numbers
// are made.
type indexNumbers struct {
	budgets, others []Poly
	parts           []Poly
	least           int64  // of budgets and others
	runs            []Poly // sizes of runs, which are known when a kernel is compiled
	who             string // has them, for an error
}

// BlockSize is the side of the tiles that cover what the data chose: 64 queries by 64 keys, as in MInference 1.0.
const BlockSize = 64

// Tensor is an input of the index stage.
type Tensor uint8

const (
	TensorQ Tensor = iota
	TensorK
)

// Chosen is the set that a Select of the index stage chose. Its kind follows from the definition's type:
//
//	columns    k is a chosen column
//	distances  q-k is a chosen distance; computed as whole tiles: see Cover in the interpreter
//	blocks     the 64x64 block of (row of q, k) was chosen
//	spans      k lies in a span of BlockSize keys that the caller gives for the row block of q
//	keys       the caller gives k for the row block of q
type Chosen struct {
	Name string
	Kind ChosenKind
}

func (Chosen) isSet() {}

// ChosenKind is what a Select ranges over, or what a Given gives.
type ChosenKind uint8

const (
	ChosenColumns ChosenKind = iota
	ChosenDistances
	ChosenBlocks
	ChosenSpans
	ChosenKeys
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
	SourceSpans                     // BlockSize keys from each key on that the caller gives
	SourceKeys                      // single keys that the caller gives, read from K and V one by one
	SourceMeans                     // means of pools of keys, which stand for what is dropped of them (means.go)
)

// Source is where the keys of a segment come from; Name is the definition for all kinds but SourceRange.
type Source struct {
	Kind SourceKind
	Name string
}
