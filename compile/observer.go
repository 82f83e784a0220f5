package compile

import (
	"time"

	"github.com/minfc/minfc/internal/codegen"
)

// Forms are what a pattern becomes on its way, in order, as Observer.Emit names them.
var Forms = []string{"ast", "ir", "schedule", "program", "llvm", "ptx", "manifest"}

// Observer watches patterns on their way, and changes nothing about what they become. Hooks may be nil.
type Observer struct {
	Verify bool // verify after every pass, not only at the end

	Emit       func(form, text string)            // receives the text of every form
	Module     func(llvm string)                  // receives the LLVM IR of every module of the artifact, in its order
	PrintAfter func(pass, target, text string)    // receives the unit after every pass, for every target
	Timing     func(step string, d time.Duration) // receives the time of every step; with several targets, it says for which
	Warn       func(rendered string)              // receives the source's warnings, several lines each
}

// The methods take a nil Observer for one without hooks.

func (w *Observer) verify() bool { return w != nil && w.Verify }

func (w *Observer) emit(form string, text func() string) {
	if w != nil && w.Emit != nil {
		w.Emit(form, text())
	}
}

// show gives the LLVM IR of a kernel to who asked for it.
func (w *Observer) show(kernel *codegen.Kernel) {
	if w != nil && w.Module != nil {
		w.Module(kernel.Module.String())
	}
}

func (w *Observer) warn(rendered string) {
	if w != nil && w.Warn != nil {
		w.Warn(rendered)
	}
}

// after is the hook of the passes for a target, nil for none.
func (w *Observer) after(target string) func(pass, text string) {
	if w == nil || w.PrintAfter == nil {
		return nil
	}
	return func(pass, text string) { w.PrintAfter(pass, target, text) }
}

// timing is the hook for the time of steps, nil for none.
func (w *Observer) timing() func(step string, d time.Duration) {
	if w == nil {
		return nil
	}
	return w.Timing
}

// clock starts timing a step and returns the function that ends it.
func (w *Observer) clock(step string) func() {
	start := time.Now()
	return func() {
		if timing := w.timing(); timing != nil {
			timing(step, time.Since(start))
		}
	}
}

// forTarget is the observer of one target of several.
func (w *Observer) forTarget(target string) *Observer {
	timing := w.timing()
	if timing == nil {
		return w
	}
	out := *w
	out.Timing = func(step string, d time.Duration) { timing(step+" for "+target, d) }
	return &out
}
