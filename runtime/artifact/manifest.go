package artifact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// SchemaVersion is the manifest schema this package writes and reads.
const SchemaVersion = 3

// Manifest says what an artifact holds: one pattern, compiled into one or more kernels, or the patterns of a head plan and the
// groups that run them together.
type Manifest struct {
	Schema   int      `json:"schema"`            // SchemaVersion
	Compiler string   `json:"compiler"`          // version of the compiler that wrote it
	Pattern  string   `json:"pattern,omitempty"` // text form of ir.Pattern
	Source   string   `json:"source,omitempty"`  // the pattern in the language, for people
	Kernels  []Kernel `json:"kernels,omitempty"`

	Members []Member `json:"members,omitempty"` // of the groups
	Groups  []Group  `json:"groups,omitempty"`
}

// Kernel is one compiled kernel: the pattern for one target, data type and head dim.
type Kernel struct {
	Entry       string  `json:"entry"`    // name of the PTX entry
	Target      string  `json:"target"`   // "sm_80"
	DType       string  `json:"dtype"`    // "bf16" or "f16"
	HeadDim     int     `json:"head_dim"` // elements
	Schedule    string  `json:"schedule"` // text form of ir.Schedule
	RowTile     int     `json:"row_tile"` // query rows of a tile of the schedule; of one thread block, too, unless block_rows says otherwise
	KeyTile     int     `json:"key_tile"` // keys of one step of its loop
	Threads     int     `json:"threads"`  // threads of one block
	SharedBytes int     `json:"shared_bytes"`
	BlockRows   int     `json:"block_rows,omitempty"`    // query rows that a block takes at a time, if not row_tile
	BlocksPerSM int     `json:"blocks_per_sm,omitempty"` // of kernels that are launched with as many blocks as run at once
	Module      int     `json:"module"`                  // index in Artifact.Modules
	PTXVersion  string  `json:"ptx_version"`
	Params      []Param `json:"params,omitempty"` // in the order of the PTX entry

	Program string        `json:"program,omitempty"` // text form of ir.Program: how the kernels below and these run
	Index   []IndexKernel `json:"index,omitempty"`   // kernels of the program beside attention
	Dense   *Kernel       `json:"dense,omitempty"`   // what computes heads instead for which it is faster: the pattern if all were chosen
}

// Rows is the number of query rows that a block takes at a time.
func (k *Kernel) Rows() int {
	if k.BlockRows > 0 {
		return k.BlockRows
	}
	return k.RowTile
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
