package artifact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/minfc/minfc/abi"
)

// SchemaVersion is the manifest schema this package writes and reads.
const SchemaVersion = 3

// Manifest says what an artifact holds: patterns, the kernels that compute them, and programs that say how kernels run. It has one pattern,
// or the patterns of a head plan, which share the heads of a layer.
type Manifest struct {
	Schema   int       `json:"schema"`   // SchemaVersion
	Compiler string    `json:"compiler"` // version of the compiler that wrote it
	Builds   []Build   `json:"builds"`   // what it was compiled for
	Patterns []Pattern `json:"patterns"`
	Codes    []Code    `json:"codes"`
	Programs []string  `json:"programs"` // text forms of ir.Program
}

// Build is one target, data type and head dim that all patterns were compiled for.
type Build struct {
	Target  string    `json:"target"` // "sm_80"
	DType   abi.DType `json:"dtype"`
	HeadDim int       `json:"head_dim"`          // elements
	Lengths bool      `json:"lengths,omitempty"` // kernels read the lengths of each sequence from device memory
	Groups  []int     `json:"groups,omitempty"`  // codes with sections, which compute several patterns in one launch
}

// Pattern is a pattern, and what became of it.
type Pattern struct {
	Text    string    `json:"pattern"`          // text form of ir.Pattern
	Source  string    `json:"source,omitempty"` // the pattern in the language, for people
	Lowered []Lowered `json:"lowered"`          // for each of Manifest.Builds
}

// Lowered is a pattern for one build.
type Lowered struct {
	Schedule string `json:"schedule"` // text form of ir.Schedule
	// Dense is the schedule of what computes heads instead for which it is faster: the pattern if all were chosen. "" if there is none.
	Dense   string `json:"dense_schedule,omitempty"`
	Program int    `json:"program"`           // index in Manifest.Programs
	Kernels []Use  `json:"kernels,omitempty"` // kernels that the program runs
}

// Use gives a kernel the name that a program has for it. Where no kernel is called abi.Attend, groups of the build compute the attention.
type Use struct {
	Name string `json:"name"`
	Code int    `json:"code"` // index in Manifest.Codes
}

// Code is one compiled kernel.
type Code struct {
	Entry       string    `json:"entry"`                // name of the PTX entry
	Module      int       `json:"module"`               // index in Artifact.Modules
	Target      string    `json:"target"`               // GPU generation of the module
	PTXVersion  string    `json:"ptx_version"`          // of the module: "8.0"
	Threads     int       `json:"threads"`              // threads of a block, or the most it can have
	SharedBytes int       `json:"shared_bytes"`         // bytes of dynamic shared memory of a block
	BlockRows   int       `json:"block_rows,omitempty"` // query rows that a block of an attention kernel takes at a time
	Params      []Param   `json:"params"`               // in the order of the PTX entry
	Sections    []Section `json:"sections,omitempty"`
}

// Section is a part of a group's grid: rows of it, that is a number of blocks along y, are blocks of one pattern, sparse or dense. A
// pattern may have several, for heads whose parameters differ. Parameters that every section has for itself begin with the section's
// number: "s0_row0", "s2_p_window". docs/design-plans.md has the reasons.
type Section struct {
	Pattern     int  `json:"pattern"`
	Dense       bool `json:"dense,omitempty"`
	TileRows    int  `json:"tile_rows"`               // query rows of a row tile
	Tiles       int  `json:"tiles"`                   // row tiles that a block takes at a time
	BlocksPerSM int  `json:"blocks_per_sm,omitempty"` // of sections whose blocks take row tiles from a queue
}

// Kernel is the code of a kernel by the name that a program has for it; nil if there is none.
func (m *Manifest) Kernel(l *Lowered, name string) *Code {
	for _, u := range l.Kernels {
		if u.Name == name {
			return &m.Codes[u.Code]
		}
	}
	return nil
}

// Params finds the parameters of the kernels that a program may run.
func (m *Manifest) Params(l *Lowered) func(name string) ([]Param, bool) {
	return func(name string) ([]Param, bool) {
		if c := m.Kernel(l, name); c != nil {
			return c.Params, true
		}
		return nil, false
	}
}

// AddCode adds a kernel and its module, and returns its number.
func (a *Artifact) AddCode(c Code, ptx []byte) int {
	c.Module = len(a.Modules)
	a.Modules = append(a.Modules, ptx)
	a.Manifest.Codes = append(a.Manifest.Codes, c)
	return len(a.Manifest.Codes) - 1
}

// AddProgram adds the text of a program unless it is there, and returns its number.
func (a *Artifact) AddProgram(text string) int {
	m := &a.Manifest
	if i := slices.Index(m.Programs, text); i >= 0 {
		return i
	}
	m.Programs = append(m.Programs, text)
	return len(m.Programs) - 1
}

// JSON returns the manifest as it stands in the artifact: indented, the same bytes for the same manifest.
func (m Manifest) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // schedules are full of "<"
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return b.Bytes(), nil
}

// parseManifest reads what JSON wrote. The schema is looked at first: a newer manifest may have any other shape.
func parseManifest(text []byte) (Manifest, error) {
	var head struct{ Schema int }
	if err := json.Unmarshal(text, &head); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if head.Schema != SchemaVersion {
		return Manifest{}, fmt.Errorf("%w: its manifest has schema %d, this program reads schema %d; %s",
			ErrVersion, head.Schema, SchemaVersion, versionAdvice(head.Schema, SchemaVersion))
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Manifest{}, fmt.Errorf("%w: text follows its end", ErrManifest)
	}
	return m, nil
}

func versionAdvice(got, want int) string {
	if got > want {
		return "it was written by a newer compiler, update this program"
	}
	return "compile the pattern again"
}
