package ir

import "slices"

// Program says how a device computes what the data chooses, and attention over it: which memory, which kernels in which order, with which
// arguments. A pass makes it from a schedule; a runtime interprets it and knows no kernel by name. The names that a program does not
// define itself are the values of the launch:
//
//	batch q_heads kv_heads group         heads of the call; group is q_heads / kv_heads
//	sq sk q_offset head_dim              lengths, the position of query 0, elements of a row
//	least_reach                          how many positions lists have room for, at least: see Shape.Reach of package runtime
//	ragged total_q total_k               of lengths in device memory, where the three above are the most that an entry has: see abi/lengths.go
//	present sharers                      q heads of a batch entry that take part; the most of them that share a kv head
//	q_batch q_head q_row, k_…, v_…, o_…  strides in bytes; lse_batch and lse_head, too
//	multiprocessors scratch_bytes        of the device; what a pass may hold of sums, or of scores, at a time
//	p_NAME                               the pattern's parameter NAME
//	scale_log2                           float: softmax scale * log2(e)
//	skip_log2                            float: log2 of the share of the schedule's Skip
//	price_fixed price_limit              float, nanoseconds of a multiprocessor for a head: what is in no list; what decides
//	price_slot price_column              float, the same for a slot of a list, and for one of columns
//	q k v o lse                          addresses of the tensors
//	seq_q seq_k offsets starts_q …       addresses of the caller's lengths, null for none
//	lengths                              address of the records that are made of them
//	spans span_count keys key_count      addresses of the caller's lists (docs/given.md), null for none
//	mass mass_rows                       addresses of what a recall writes (docs/recall.md), null for none
//	span_cap key_cap                     how many entries a row block has room for there
//	heads                                address of a word a head, RouteElsewhere for a head that takes no part; null: all do
//	groups                               the same of kv heads: RouteElsewhere for one none of whose q heads takes part
//	route, taken                         address of the words that say which kernel computes a head, null: one for all; its word
type Program struct {
	Name     string
	Variants []Variant
	Values   []Value // in order; later ones may use earlier ones
	Limits   []Limit
	Work     []Work
	Buffers  []Buffer
	Parts    []Part
}

// Variant is a number that kernels come in several of: the smallest of Of that is at least For and whose kernels have room on the
// device, else the largest that has. The kernel of a step with the variant is named after the number: "probe_sums.4".
type Variant struct {
	Name string
	Of   []int64 // ascending
	For  Expr
}

// Value is a named number. With Most it is the largest over the q heads that take part, each with its own parameters.
type Value struct {
	Name string
	Most bool
	Expr Expr
}

// Limit refuses a call in which Value is more than Most.
type Limit struct {
	Value Expr
	Most  int64
	What  string // what the value is, and what to do about it: "the batch times the query heads; split larger calls"
}

// Work is what the index stage of one batch entry does, in a unit that a cost model prices.
type Work struct {
	Unit   string
	Amount Expr
}

// Units of work.
const (
	WorkLaunches = "launches"
	WorkProbed   = "probed_keys"     // keys that a block of 64 probe rows is multiplied with
	WorkPooled   = "pooled_bytes"    // read by pools
	WorkScores   = "block_scores"    // pairs of pooled blocks, causal ones counted twice
	WorkSquares  = "square_products" // pairs of rows of q and k that squares multiply, causal ones counted twice
)

// Buffer is device memory of the workspace, aligned to 256 bytes.
type Buffer struct {
	Name    string
	Type    string // i32, u32, f32 or the data's own type, elem
	Shape   []Expr // elements; the first dimension varies slowest
	Passing bool   // used within parts before the attention alone, so that calls in a row may share it
	Over    string // the buffer whose extent it has, "" for one of its own
}

// Part is a number of steps that are run together. Which parts a call runs is decided from costs.
type Part struct {
	Name  string
	Steps []Step
}

// The parts of a program, in the order in which they run.
const (
	PartLengths = "lengths" // records of lengths in device memory, once a call
	PartNumbers = "numbers" // what the host knows by head
	PartPool    = "pool"    // what depends on one block of keys alone: its pooled row
	PartChoose  = "choose"  // from the data to lists
	PartGather  = "gather"  // what follows from lists: copies of K and V
	PartDecide  = "decide"  // which heads run dense
	PartAttend  = "attend"  // attention over the lists, or of a pattern without lists
	PartDense   = "dense"   // attention of the heads that run dense
	PartRecall  = "recall"  // what share of the attention mass another call kept, of a program of its own
)

// PartNames lists the parts in order.
var PartNames = []string{PartLengths, PartNumbers, PartPool, PartChoose, PartGather, PartDecide, PartAttend, PartDense, PartRecall}

// Step is one thing that a part does.
type Step interface{ isStep() }

type (
	// Let defines a value from here to the end of its part, or of its loop.
	Let struct {
		Name string
		Expr Expr
	}
	// For runs its steps with Var at 0, By, 2*By and so on below End.
	For struct {
		Var     string
		End, By Expr
		Steps   []Step
	}
	// Heads leaves the rest of a loop's turn out if none of N heads from First on takes part (batch*q_heads + q head).
	Heads struct{ First, N Expr }
	// Run launches a kernel, unless the grid is empty. Arguments that are not listed are what the program or the launch has of the
	// parameter's name.
	Run struct {
		Kernel  string
		Variant string // "" for a kernel that comes once
		Grid    [3]Expr
		Threads *Expr // of a block; nil: what the kernel was compiled for
		Args    []Arg
	}
	// Store writes rows of numbers, [rows, q_heads] words, and behind them, where some heads take no part, the words of all heads and, if
	// a row is by group, of all kv heads, by a kernel that takes the words as arguments.
	Store struct {
		Buffer string
		Kernel string
		Rows   []Row
	}
	// Zero clears a buffer.
	Zero struct{ Buffer string }
)

func (Let) isStep()   {}
func (For) isStep()   {}
func (Heads) isStep() {}
func (Run) isStep()   {}
func (Store) isStep() {}
func (Zero) isStep()  {}

// Row is a number for each q head, 0 for a head that takes no part. ByGroup: a number for each kv head, which all of its q heads that take part
// have, in the row's first places.
type Row struct {
	As      Encoding
	Expr    Expr
	ByGroup bool
}

// byGroup says whether a row is.
func (s Store) byGroup() bool {
	return slices.ContainsFunc(s.Rows, func(r Row) bool { return r.ByGroup })
}

// Encoding is how a kernel wants a number.
type Encoding uint8

const (
	AsCount     Encoding = iota // the number itself
	AsShare                     // thousandths, at most 1000
	AsThreshold                 // bits of the smallest float32 above so many millionths
	AsFraction                  // bits of the float32 of so many thousandths, at most 1
)

// Arg is the value of a kernel's parameter.
type Arg struct {
	Param string
	Kind  ArgKind
	Of    string // the buffer or tensor of an address, the name of a float
	Expr  Expr   // the number, or bytes from the start of an address, or what a float is divided by
}

// ArgKind tells arguments apart.
type ArgKind uint8

const (
	ArgNumber  ArgKind = iota
	ArgAddress         // an address plus bytes; null plus anything is null
	ArgFloat           // a float, divided by a constant
	ArgNull
)

// AddressArg is an address, some bytes from the start of a buffer or tensor.
func AddressArg(param, of string, bytes Expr) Arg { return Arg{param, ArgAddress, of, bytes} }

// NumberArg is an integer.
func NumberArg(param string, e Expr) Arg { return Arg{Param: param, Kind: ArgNumber, Expr: e} }

// FloatArg is a float of the launch, divided by a number.
func FloatArg(param, of string, by int64) Arg { return Arg{param, ArgFloat, of, N(by)} }

// NullArg is a null pointer.
func NullArg(param string) Arg { return Arg{Param: param, Kind: ArgNull, Expr: N(0)} }

// Types of kernel parameters that are no numbers: tensor maps, and the heads of a grid's rows.
const (
	MapType      = "map"
	RowHeadsType = "u16x128"
)

// KernelParam is one parameter of a compiled kernel, in the order of its PTX entry. Type is ptr, i32, i64, f32; map, which is a tensor
// map by value; or u16x128, an array by value.
type KernelParam struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Tensor string `json:"tensor,omitempty"` // of a map: q, k, v, o, or the buffer of a compacted copy (i_…_kc, i_…_vc)
	Box    [2]int `json:"box,omitzero"`     // of a map: columns and rows of what one copy takes
	// Of a pointer to a buffer, how many bytes from there on the kernel reads and writes, as an expression over its integer parameters and
	// grid_x, grid_y and grid_z.
	Reads  *Expr `json:"reads,omitempty"`
	Writes *Expr `json:"writes,omitempty"`
}

// Kernels are what a program may run: the parameters of a kernel by its name, false for one that is not there.
type Kernels func(name string) (params []KernelParam, there bool)

// Part returns the steps of a part, nil if the program has none of that name.
func (p *Program) Part(name string) []Step {
	for _, part := range p.Parts {
		if part.Name == name {
			return part.Steps
		}
	}
	return nil
}

// Buffer returns the buffer of a name.
func (p *Program) Buffer(name string) (Buffer, bool) {
	for _, b := range p.Buffers {
		if b.Name == name {
			return b, true
		}
	}
	return Buffer{}, false
}

// ListName is the parameter, the buffer or the value for one field of the lists of a chosen set: "i_cols_col_cap".
func ListName(set, field string) string { return "i_" + set + "_" + field }
