// Package campaign says how many cases a random test draws. `go test -short ./...` draws few, for daily work; `go test ./...`
// draws what a minute or two can hold; with MINFC_CAMPAIGNS=1 in the environment, which CI sets, tests draw all.
package campaign

import (
	"os"
	"runtime/debug"
	"testing"
)

// Variable is the environment variable that asks for all cases, with the value 1.
const Variable = "MINFC_CAMPAIGNS"

// On says whether the environment asks for all cases.
func On() bool { return os.Getenv(Variable) == "1" }

// Cases picks one of three numbers: for -short, for a plain run, and for a campaign. Draw the cases in one order
// whatever the number is, so that the smaller runs are the beginning of the larger ones.
func Cases(short, plain, all int) int {
	switch {
	case On():
		return all
	case testing.Short():
		return short
	}
	return plain
}

// Run is the TestMain of packages that compile and load many kernels, each used for a moment: a quarter of the time would go to the
// garbage collector, whose default is made for programs that hold more than they drop. GOGC in the environment still counts.
func Run(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(m.Run())
}
