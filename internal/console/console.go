// Package console is what a command writes to: results to one side, everything else to the other, with a bar for long work.
package console

import (
	"fmt"
	"io"

	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/progress"
)

// Console has results on standard output and everything else on standard error.
type Console struct {
	Out      io.Writer // keeps the first error for Failed
	Err      io.Writer
	Progress *progress.Reporter // on Err; nil shows nothing

	results *results
}

// New is a console on these two.
func New(stdout, stderr io.Writer) *Console {
	out := &results{w: stdout}
	return &Console{Out: out, Err: stderr, Progress: progress.New(stderr), results: out}
}

// Note prints a line beside the results.
func (c *Console) Note(format string, args ...any) {
	c.Progress.Clear()
	fmt.Fprintf(c.Err, format+"\n", args...)
}

// Printf prints a result.
func (c *Console) Printf(format string, args ...any) { fmt.Fprintf(c.Out, format, args...) }

// Write puts data at path, whole or not at all; - is standard output.
func (c *Console) Write(path string, data []byte) error {
	if path == "-" {
		_, err := c.Out.Write(data)
		return err
	}
	return files.Write(path, data)
}

// ReportBeside sends what is printed from now on to standard error, because standard output has a file.
func (c *Console) ReportBeside() { c.Out = c.Err }

// Failed is why something could not be written to standard output, nil if all could: a full disk behind a redirection is not to be missed.
func (c *Console) Failed() error { return c.results.failed }

// results is the standard output; it keeps the first error.
type results struct {
	w      io.Writer
	failed error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil && r.failed == nil {
		r.failed = fmt.Errorf("cannot write to standard output: %w", err)
	}
	return n, err
}
