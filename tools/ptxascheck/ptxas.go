package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// resources is what ptxas says a kernel needs; bytes but for the registers.
type resources struct {
	registers   int
	stack       int // a thread's local memory: spills and indexed arrays
	spillStores int
	spillLoads  int
	shared      int      // static
	losses      []string // what ptxas says it could not do as written: wgmma one after the other, setmaxnreg ignored
}

// assembler is a ptxas program.
type assembler struct{ path string }

// version returns the release, such as "12.4.131".
func (a assembler) version() (string, error) {
	out, err := exec.Command(a.path, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w\n%s", a.path, err, out)
	}
	v := releasePattern.FindSubmatch(out)
	if v == nil {
		return "", fmt.Errorf("%s --version names no release, it says:\n%s", a.path, out)
	}
	return string(v[1]), nil
}

var releasePattern = regexp.MustCompile(`release [0-9.]+, V([0-9.]+)`)

// assemble compiles PTX that holds one kernel for one GPU generation. The error carries what ptxas printed, and the
// path of the PTX, which is kept for a closer look.
func (a assembler) assemble(ctx context.Context, ptx []byte, entry, arch string) (resources, error) {
	file, err := keep(ptx, "ptxas-*.ptx")
	if err != nil {
		return resources{}, err
	}
	out, err := exec.CommandContext(ctx, a.path, "-v", "--gpu-name", arch, "--output-file", os.DevNull, file).CombinedOutput()
	if err != nil {
		return resources{}, fmt.Errorf("ptxas rejects %s: %w\n%s", file, err, out)
	}
	r, err := parseResources(string(out), entry)
	if err != nil {
		return resources{}, fmt.Errorf("%w, for %s; ptxas says:\n%s", err, file, out)
	}
	return r, os.Remove(file)
}

func keep(data []byte, pattern string) (string, error) {
	f, err := os.CreateTemp("", pattern)
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return filepath.Clean(f.Name()), errors.Join(err, f.Close())
}

var (
	framePattern    = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	lossPattern     = regexp.MustCompile(`(?m)^ptxas.*\(C75\d\d\).*$`)
	registerPattern = regexp.MustCompile(`Used (\d+) registers`)
	sharedPattern   = regexp.MustCompile(`Used \d+ registers.*?(\d+) bytes smem`)
)

// parseResources reads the report of ptxas -v on one kernel.
func parseResources(report, entry string) (resources, error) {
	if !strings.Contains(report, "Compiling entry function '"+entry+"'") {
		return resources{}, fmt.Errorf("the report has no entry function %q", entry)
	}
	frame, used := framePattern.FindStringSubmatch(report), registerPattern.FindStringSubmatch(report)
	if frame == nil || used == nil {
		return resources{}, errors.New("the report has no line on the stack frame or none on registers")
	}
	r := resources{registers: number(used[1]), stack: number(frame[1]), spillStores: number(frame[2]), spillLoads: number(frame[3])}
	if shared := sharedPattern.FindStringSubmatch(report); shared != nil {
		r.shared = number(shared[1])
	}
	r.losses = lossPattern.FindAllString(report, -1)
	return r, nil
}

// number reads what a pattern has matched as digits.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
