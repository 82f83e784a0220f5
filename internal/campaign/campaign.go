// Package campaign says how many cases a test draws. `go test -short ./...` draws few, for daily work; `go test ./...` draws what a minute
// or two can hold; with MINFC_CAMPAIGNS=1 in the environment, which CI sets, tests draw all.
package campaign

import (
	"os"
	"runtime/debug"
	"testing"
)

// Variable is the environment variable that asks for all cases, with the value 1.
const Variable = "MINFC_CAMPAIGNS"

func on() bool { return os.Getenv(Variable) == "1" }

// Cases picks one of three numbers: for -short, for a plain run, and for a campaign, which has more than a plain run. Draw the cases in one
// order whatever the number is, so that the smaller runs are the beginning of the larger ones. Tests call it themselves, not through a
// function: .ci/run finds the tests that it runs again for a campaign by their calls.
func Cases(short, plain, all int) int {
	if on() {
		return all
	}
	return Few(short, plain)
}

// Few picks the number for -short or for all other runs: a plain run has all cases of the test, and a campaign adds nothing to it.
func Few(short, rest int) int {
	if testing.Short() && !on() {
		return short
	}
	return rest
}

// Run is the TestMain of packages that compile and load many kernels, each used for a moment: a quarter of the time would go to the
// garbage collector, whose default is made for programs that hold more than they drop. GOGC in the environment still counts.
func Run(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(m.Run())
}
