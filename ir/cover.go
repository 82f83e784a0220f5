package ir

import "sort"

// CoverTiles returns the tiles that cover the chosen distances (ascending, not negative): their L as the comment on the
// cover in index.go defines it, ascending. Tile L holds the keys with L <= s-k+63 < L+BlockSize of the row block at s.
func CoverTiles(distances []int) []int {
	var tiles []int
	for _, d := range distances {
		switch n := len(tiles); {
		case n == 0 || d > tiles[n-1]+BlockSize:
			tiles = append(tiles, d)
		case d > tiles[n-1]:
			tiles = append(tiles, tiles[n-1]+BlockSize)
		}
	}
	return tiles
}

// Covered says whether one of the tiles of CoverTiles holds delta = s-k+63.
func Covered(tiles []int, delta int) bool {
	n := sort.SearchInts(tiles, delta+1)
	return n > 0 && delta < tiles[n-1]+BlockSize
}
