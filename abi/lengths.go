package abi

import (
	"slices"
	"strings"
)

// Lengths in device memory. A kernel that is compiled for them has the parameter lengths: a record of every batch entry, in words of 4 bytes.
// What such a kernel knows as sq, sk and q_offset are the most that an entry can have: they say how buffers lie and how large grids are.
// Which rows there are, and where they begin, the records say.
//
// The rows of a batch entry need not begin at row 0 of its tensors: with batch strides of 0, entries are sequences that follow each other.

// LengthsParam is the address of the records.
var LengthsParam = Param{Name: "lengths", Type: "ptr"}

// LengthsBytes is the size of a record.
const LengthsBytes = 32

// LengthWords are the places of numbers in a record: the lengths of an entry and the position of its query 0, and the rows of the tensors at
// which its queries and its keys begin.
var LengthWords = map[string]int{"sq": 0, "sk": 1, "q_offset": 2, "first_q": 3, "first_k": 4}

// FirstRow is which word of a record says where an entry's rows of a tensor begin, "" for what is no tensor of the call.
var FirstRow = map[string]string{"q": "first_q", "o": "first_q", "lse": "first_q", "k": "first_k", "v": "first_k"}

// WithLengths are the parameters of a kernel of attention, with the one for lengths in device memory if there are such.
func WithLengths(params []Param, lengths bool) []Param {
	if !lengths {
		return params
	}
	return append(slices.Clone(params), LengthsParam)
}

// Lengths is the kernel that writes the records, a thread an entry.
//
//	seq_q, seq_k, offsets   i32 of the caller, null for what is the same for all entries
//	starts_q, starts_k      i32 of the caller, null for 0: the rows of their batch entry at which queries and keys begin; not with ragged
//	ragged                  1: seq_q and seq_k are cumulative, one number more than entries; 0: they are lengths, one for each entry
//	sq, sk, q_offset        the most of each, and what holds where an address is null
//	total_q, total_k        rows of the tensors, with ragged
//
// Numbers are cut to what there is memory for, so that no kernel reads or writes beyond it, whatever the caller's memory holds. Without
// seq_k, the keys of an entry are its queries' own with ragged; else they end with the last query.
const (
	Lengths        = "lengths"
	LengthsThreads = 64 // of a block
)

// ByLengths names the kernel of the index stage that reads lengths from device memory.
func ByLengths(kernel string) string { return kernel + lengthsSuffix }

const lengthsSuffix = "_lengths"

// WithoutLengths is the name of the kernel that reads no lengths, and whether the name was another one.
func WithoutLengths(kernel string) (plain string, was bool) {
	return strings.CutSuffix(kernel, lengthsSuffix)
}

// byLengths are the kernels that depend on lengths, and what they have more. A choice is from keys (0), or from the distances up to the last
// query: single ones (1), or runs of so many; a pool is of queries (0) or of keys (1); a mean is of keys (0), of distances (1), or of pooled
// queries with so many elements; a kernel whose grid counts heads asks how many an entry has.
var byLengths = map[string]string{
	ProbeStats: "", ProbeSums: "", Compact: "",
	SelectTop: " i32 a_of b_of", SelectMass: " i32 a_of b_of", SelectAbove: " i32 a_of b_of", SelectNear: " i32 a_of b_of",
	RunSums: "", RunDistances: "", GroupMean: " i32 of", GroupShares: "",
	PoolMean: " i32 of", PoolMax: " i32 of", PoolMean128: " i32 of", PoolMax128: " i32 of",
	BlockScores: " i32 hq", BlockShares: " i32 hq", SquareScores: "",
	BlockSelect: "", BlockSelectMass: "", BlockSelectAbove: "", BlockSelectNear: "",
}

func init() {
	for _, rows := range PackedRows {
		for kernel, params := range map[string]string{ProbeStats: probeStats, ProbeSums: probeSums("")} {
			packed := Packed(kernel, rows)
			byLengths[packed], IndexParams[packed] = "", Typed(params+packedParams)
		}
	}
	for kernel, more := range byLengths {
		IndexParams[ByLengths(kernel)] = append(slices.Clone(IndexParams[kernel]), Typed("ptr lengths"+more)...)
	}
}

// DependsOnLengths says whether a kernel of the index stage is another one where lengths are in device memory.
func DependsOnLengths(kernel string) bool {
	_, does := byLengths[kernel]
	return does
}
