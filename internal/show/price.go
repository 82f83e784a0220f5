package show

import (
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
)

// Time is what the cost model expects of a call on a GPU, in milliseconds. Nothing was measured of it.
type Time struct {
	Machine  string  `json:"machine"`
	Target   string  `json:"target"`
	Measured bool    `json:"measured"` // the model was fitted to measurements of this GPU
	LowMS    float64 `json:"low_ms"`   // over what the data could choose; equal to HighMS where no data decides
	HighMS   float64 `json:"high_ms"`
	IndexMS  float64 `json:"index_ms"` // choosing, a part of the others
	DenseMS  float64 `json:"dense_ms"` // attention without sparsity
	Dense    bool    `json:"dense"`    // heads run without sparsity, because that is surely faster
}

// Index is what choosing takes, of a run that keeps every head sparse.
type Index struct {
	Bytes    int64 `json:"bytes"`    // workspace on the device, for all heads
	Launches int   `json:"launches"` // of a run, attention and clearings of memory included
}

// shape is the call that times are of.
func (s *subject) shape() runtime.Shape {
	return runtime.Shape{Batch: 1, QHeads: QHeads, KVHeads: KVHeads, SeqQ: s.n, SeqK: s.n}
}

// times are the times on every GPU that the cost model knows, each with its newest target. index is nil where no data decides.
func (s *subject) times() (times []Time, index *Index, err error) {
	seen := map[string]bool{}
	for _, m := range cost.Machines() {
		if seen[m.Name] {
			continue
		}
		seen[m.Name] = true
		if m, err = outlook.FindMachine("", m.Name); err != nil {
			return nil, nil, err
		}
		price := s.static
		if s.dynamic() {
			price = s.chosen
		}
		o, i, err := price(m)
		if err != nil {
			return nil, nil, err
		}
		times = append(times, Time{m.Name, m.Target, m.Measured, o.Low, o.High, o.Index, o.Dense, o.RunsDense})
		if index == nil {
			index = i
		}
	}
	return times, index, nil
}

// static prices a static pattern, and the base, by their schedules alone.
func (s *subject) static(m cost.Machine) (outlook.Outlook, *Index, error) {
	o := outlook.Outlook{Machine: m}
	build := artifact.Build{Target: m.Target, DType: DType, HeadDim: HeadDim}
	price := func(p *ir.Pattern, params map[string]int64) (float64, error) {
		schedule, err := s.scheduleFor(p, m.Target)
		if err != nil {
			return 0, err
		}
		return outlook.Static(m, build, schedule, outlook.Call{Shape: s.shape(), Params: params})
	}
	var err error
	if o.Low, err = price(s.pattern, s.launch); err != nil {
		return o, nil, err
	}
	o.High = o.Low
	o.Dense, err = price(s.base(), nil)
	return o, nil, err
}

// chosen prices a pattern that data decides. It is compiled for that, once for all targets, and loaded where nothing is launched.
func (s *subject) chosen(m cost.Machine) (o outlook.Outlook, index *Index, err error) {
	if s.artifact == nil {
		if s.artifact, err = s.program.With(s.consts).Compile(compile.Options{Target: compile.TargetAuto, DType: DType, HeadDim: HeadDim}, nil); err != nil {
			return o, nil, err
		}
	}
	dev, err := openPaper()
	if err != nil {
		return o, nil, err
	}
	defer dev.Close()
	loaded, err := runtime.Load(dev, s.artifact, artifact.Select{Target: m.Target})
	if err != nil {
		return o, nil, err
	}
	defer loaded.Close()
	if o, err = outlook.Dynamic(m, loaded, outlook.Call{Shape: s.shape(), Params: s.launch}); err != nil {
		return o, nil, err
	}
	sparse := s.shape()
	sparse.NoFallback = true // what choosing takes also where no head would choose
	prepared, err := loaded.Prepare(sparse, runtime.Part{Params: s.launch})
	if err != nil {
		return o, nil, err
	}
	return o, &Index{prepared.Workspace(), prepared.Commands()}, nil
}
