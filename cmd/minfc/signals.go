package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/minfc/minfc/internal/files"
)

// exitInterrupted is the exit code after Ctrl-C, as shells count it, and after a request to end.
const exitInterrupted = 130

// endOnSignals makes Ctrl-C and a request to end the end of the process, which leaves no temporary file and no part of a result behind.
func endOnSignals(stderr io.Writer) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		files.AbortWrites()
		fmt.Fprintf(stderr, "minfc: ended by the signal %q; unfinished files are removed\n", s)
		os.Exit(exitInterrupted)
	}()
}
