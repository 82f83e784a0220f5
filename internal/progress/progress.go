// Package progress shows on a terminal how far long work is and how much time is left.
package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// patience is how long work goes on before a bar appears: short work should not flicker.
const patience = 700 * time.Millisecond

// Reporter shows one bar at a time. The nil Reporter shows none.
type Reporter struct {
	w   io.Writer
	now func() time.Time

	mu    sync.Mutex
	what  string
	done  int64
	start time.Time
	bar   *progressbar.ProgressBar // of what; nil if there is no work
}

// New shows bars on w if it is a terminal, else nothing.
func New(w io.Writer) *Reporter {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &Reporter{w: w, now: time.Now}
}

// Step says that done of total pieces of what are finished, in any unit. Work of another name begins anew; all pieces done end it. It is
// safe for concurrent use, and a step that comes late is left out.
func (r *Reporter) Step(what string, done, total int64) {
	if r == nil || total <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if what != r.what {
		r.clear()
	}
	if r.bar == nil {
		r.what, r.done, r.start = what, 0, r.now()
		r.bar = r.newBar(what, total)
	}
	if done >= total {
		r.clear()
	} else if done > r.done {
		r.done = done
		r.bar.Set64(done)
	}
}

// Func is Step for a piece of work.
func (r *Reporter) Func(what string) func(done, total int) {
	return func(done, total int) { r.Step(what, int64(done), int64(total)) }
}

// Clear takes the bar away, so that lines can be printed.
func (r *Reporter) Clear() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
}

func (r *Reporter) clear() {
	if r.bar != nil {
		r.bar.Clear() // writing to a terminal that is gone does no harm
	}
	r.bar, r.what = nil, ""
}

// Write is where the bar is written to: nothing comes through before patience is over.
func (r *Reporter) Write(p []byte) (int, error) {
	if r.now().Sub(r.start) < patience {
		return len(p), nil
	}
	return r.w.Write(p)
}

func (r *Reporter) newBar(what string, total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(r), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(28),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetElapsedTime(true), progressbar.OptionThrottle(throttle))
}

// throttle is the shortest time between two pictures of a bar.
const throttle = 100 * time.Millisecond
