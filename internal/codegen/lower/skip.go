package lower

import "github.com/llir/llvm/ir/enum"

// Tiles that a kernel leaves out because their weights are negligible beside what its rows have met (ir.Skip; docs/skip.md has the bound).
// The warps of the tile decide it from the scores, masked ones aside. Their words count tiles: how many they met, and how many they left out.

// Skips says whether the schedule lets tiles be left out.
func (k *RowTile) Skips() bool { return k.Schedule.Skip != nil }

// slackOf is the slack of the kernel's maxima. What is left out is measured from them, so where tiles are, they follow the scores closely:
// within a factor of two.
func (k *RowTile) slackOf() float64 {
	if k.Skips() {
		return 1
	}
	return slack
}

// Weighs says whether a tile counts for some row of the thread: x are the largest of the thread's scores of each of its rows, scaled, in the
// log2 domain, and m the rows' maxima. A row of which all scores are masked asks for nothing, and NaN counts.
func (k *RowTile) Weighs(x, m []Value) Value {
	some := Value(Bool(false))
	for i := range x {
		some = k.Or(some, k.FCmp(enum.FPredUGE, x[i], k.FAdd(m[i], k.Param("skip_log2"))))
	}
	return some
}

// AddSkips adds a row tile's numbers of tiles, met and left out, to the numbers of its head. One thread does it.
func (k *RowTile) AddSkips(met, left Value) {
	at := k.Offset(k.Param("skips"), k.ZExt64(k.Shl(k.HeadIndex(), 3)))
	k.GlobalAdd(at, met)
	k.GlobalAdd(k.Offset(at, I64(4)), left)
}
