package e2e

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/ir"
)

// givenLists are lists as a caller has them: of every row block of every head (batch by batch) the first keys of its spans, and its keys.
type givenLists struct{ spans, keys [][]int }

// table lays entries out as the caller's tensors: [row blocks of all heads, room], and counts. Entries beyond a count are never read; what
// stands there is noise. A count of no entries may be below 0, and one of as many as there is room for may be larger.
func table(entries [][]int, room int, noise *rand.Rand) (of, count []byte) {
	for _, own := range entries {
		n := len(own)
		switch wild := int(noise.Int32()); {
		case wild%2 == 0:
		case n == room:
			n = max(n, wild%1000)
		case n == 0:
			n = -wild % 60
		}
		count = binary.LittleEndian.AppendUint32(count, uint32(int32(n)))
		for i := range room {
			x := int32(noise.Uint32())
			if i < len(own) {
				x = int32(own[i])
			}
			of = binary.LittleEndian.AppendUint32(of, uint32(x))
		}
	}
	return of, count
}

// longest is how many entries the longest list has.
func longest(entries [][]int) (n int) {
	for _, own := range entries {
		n = max(n, len(own))
	}
	return n
}

// randomLists are lists without any order: spans that overlap, keys that come twice or that a span has, and numbers that are no keys.
func randomLists(rng *rand.Rand, rowBlocks, sk int) givenLists {
	wild := []int{-1, -63, -64, -65, sk, sk + 1, sk + 63, 1<<31 - 1, -1 << 31, 1<<31 - 64}
	fill := func(most int) (out []int) {
		for range rng.IntN(most + 1) {
			switch x := rng.IntN(20); {
			case x == 0 || sk == 0:
				out = append(out, wild[rng.IntN(len(wild))])
			case x == 1 && len(out) > 0:
				out = append(out, out[rng.IntN(len(out))])
			default:
				out = append(out, rng.IntN(sk))
			}
		}
		return out
	}
	var l givenLists
	most := []int{0, 3, 9}
	for range rowBlocks {
		l.spans = append(l.spans, fill(most[rng.IntN(3)]))
		l.keys = append(l.keys, fill([]int{0, 20, 150}[rng.IntN(3)]))
	}
	return l
}

// converted are the lists that MInference's converter makes of chosen columns (ascending) and distances (descending) of a head
// (convert_vertical_slash_indexes, https://github.com/microsoft/MInference, csrc/vertical_slash_index.cu): every distance asks for the 64 keys that
// end with the key of the row block's last row, or for keys 0 to 63. Of the farthest first, one that the spans before it have costs
// nothing; one that reaches at most 64 keys further is met by the next 64 keys; any other begins anew. Columns below the end of the last
// span that no span has stay single keys. Query row i is at position i + later.
func converted(columns, distances []int, sq, later int) (l givenLists) {
	for first := 0; first < sq; first += ir.BlockSize {
		end := first + ir.BlockSize + later
		var spans, keys []int
		for _, d := range distances {
			to := max(end-d, ir.BlockSize)
			last := -1 << 30
			if n := len(spans); n > 0 {
				last = spans[n-1] + ir.BlockSize
			}
			switch {
			case d >= end || to <= last:
			case to > last+ir.BlockSize:
				spans = append(spans, to-ir.BlockSize)
			default:
				spans = append(spans, last)
			}
		}
		for _, c := range columns {
			at, begins := slices.BinarySearch(spans, c) // the spans are ascending
			in := begins || at > 0 && c < spans[at-1]+ir.BlockSize
			if n := len(spans); n > 0 && c < spans[n-1] && !in {
				keys = append(keys, c)
			}
		}
		l.spans, l.keys = append(l.spans, spans), append(l.keys, keys)
	}
	return l
}

// convertedLists are such lists for every head, with choices of its own; distance 0 is always among them.
func convertedLists(rng *rand.Rand, heads, sq, sk int) (l givenLists) {
	for range heads {
		pick := func(n, below int) (out []int) {
			for range min(n, below) {
				out = append(out, rng.IntN(below))
			}
			slices.Sort(out)
			return slices.Compact(out)
		}
		columns, distances := pick(rng.IntN(60), sk), pick(rng.IntN(40), sk)
		if !slices.Contains(distances, 0) {
			distances = append([]int{0}, distances...)
		}
		slices.Reverse(distances)
		own := converted(columns, distances, sq, sk-sq)
		l.spans, l.keys = append(l.spans, own.spans...), append(l.keys, own.keys...)
	}
	return l
}

// counts says how often each key of [0, sk) counts for a row block.
func (l givenLists) counts(rowBlock, sk int) []int {
	out := make([]int, sk)
	add := func(k int) {
		if 0 <= k && k < sk {
			out[k]++
		}
	}
	for _, s := range l.spans[rowBlock] {
		for i := range ir.BlockSize {
			add(s + i)
		}
	}
	for _, k := range l.keys[rowBlock] {
		add(k)
	}
	return out
}
