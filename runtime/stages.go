package runtime

import "github.com/minfc/minfc/runtime/device"

// Stages are the stages of a run, as a set: what a run on one device does in one go, and what a call that is shared by several devices runs
// piece by piece, with exchanges between (docs/design-parallel.md).
type Stages uint8

// The stages, in order.
const (
	// StagePool reduces each block of keys to its pooled row, where a pattern scores blocks.
	StagePool Stages = 1 << iota
	// StageChoose goes from q, k and pooled rows to lists.
	StageChoose
	// StageGather copies K and V at chosen columns, and decides which heads run dense.
	StageGather
	// StageAttend is attention over the lists.
	StageAttend

	AllStages = StagePool | StageChoose | StageGather | StageAttend
)

// stageNumbers has what the kernels of two stages read: it runs with either.
const stageNumbers = StagePool | StageChoose

// indexStages come before attention.
var indexStages = []Stages{stageNumbers, StagePool, StageChoose, StageGather}

// stageRecords are the records of one stage of a part, or of attention.
type stageRecords struct {
	stage      Stages
	first, end int
}

// RunStages enqueues some stages of a run; others have run before with the same workspace, or another call's lists were copied there: calls
// whose lists have the same extents (Lists) read them alike. What a stage does not read needs no contents. StageGather and StageAttend touch
// the first KeptBytes of the workspace alone, so a copy of these serves them.
func (p *Prepared) RunStages(s device.Stream, at Pointers, stages Stages) error {
	if stages == 0 || stages&^AllStages != 0 {
		return device.BadCall("the stages are %d, want some of 1 (pool), 2 (choose), 4 (gather) and 8 (attend), added up", stages)
	}
	if p.idle() {
		return nil
	}
	workspace := p.workspace
	if stages&(StagePool|StageChoose) == 0 {
		workspace = p.kept
	}
	if err := p.call.checkPointers(at, workspace); err != nil {
		return err
	}
	bases := at.bases()
	if _, _, rows := p.call.Rows(); rows == 0 { // never looked at
		bases[baseK], bases[baseV] = 0, 0
	}
	for i := 0; i < len(p.stages); i++ {
		if p.stages[i].stage&stages == 0 {
			continue
		}
		first := p.stages[i].first
		for i+1 < len(p.stages) && p.stages[i+1].stage&stages != 0 {
			i++
		}
		if end := p.stages[i].end; end > first {
			if err := p.records.run(s, bases, first, end); err != nil {
				return err
			}
		}
	}
	return nil
}
