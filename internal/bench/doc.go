// Package bench measures compiled patterns the way a user runs them: structured inputs, device events, the compared
// kernels in random order in one process, medians. It also reads what other tools measured and draws both.
//
// The folder's Python files do the same for what torch has; docs/measuring.md explains every figure.
package bench
