package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/minfc/minfc/runtime/device"
)

// Schema is the version of the JSON form of Report. A field may be added without a new version; one that changes its
// meaning or goes away needs one.
const Schema = 1

// The tools that write reports.
const (
	ToolBench   = "minfc bench"
	ToolPredict = "minfc bench --predict"
	ToolPeers   = "bench/peers.py"
)

// Report is one run of a tool: one machine, one shape but for the length, one workload. Times are milliseconds,
// rates 10^12 floating-point operations a second. A figure that is not known is null or left out.
type Report struct {
	Schema   int      `json:"schema"`
	Tool     string   `json:"tool"`
	Version  string   `json:"version"` // of the tool: "minfc 0.1.0", "torch 2.11.0"
	Date     string   `json:"date"`    // 2006-01-02
	Command  string   `json:"command"`
	Machine  Machine  `json:"machine"`
	Call     Call     `json:"call"`
	Workload Workload `json:"workload"`
	Rates    []Rate   `json:"rates"`
	Rows     []Row    `json:"rows"`
}

// Machine is what the kernels ran on.
type Machine struct {
	Name            string `json:"name"`
	Driver          string `json:"driver"`         // "cuda", "emu"; "" for a prediction
	DriverVersion   string `json:"driver_version"` // CUDA version
	Capability      string `json:"capability"`     // "9.0"
	Multiprocessors int    `json:"multiprocessors"`
	Emulated        bool   `json:"emulated"` // the emulator's times, which say nothing about a GPU
}

// Call is the shape of every row but for its length: q [Batch, QHeads, length, HeadDim], k and v [Batch, KVHeads, ...].
type Call struct {
	Batch   int    `json:"batch"`
	QHeads  int    `json:"q_heads"`
	KVHeads int    `json:"kv_heads"`
	HeadDim int    `json:"head_dim"`
	DType   string `json:"dtype"`
}

// Workload is what the inputs were.
type Workload struct {
	Kind    string `json:"kind"`
	Seed    uint64 `json:"seed"`
	Planted bool   `json:"planted,omitempty"` // lists were planted instead of chosen by the data

	PlantedBlocks BlockSharing `json:"planted_blocks,omitempty"` // of lists of blocks, where it is not BlocksApart
}

// what says what was measured, without the seed.
func (w Workload) what() string {
	if w.Planted {
		return strings.TrimSpace(w.Kind + " with planted lists " + string(w.PlantedBlocks))
	}
	return w.Kind
}

// Rate is a measured rate of matrix products.
type Rate struct {
	Name   string  `json:"name"`
	TFLOPS float64 `json:"tflops"`
}

// Row is one kernel at one length.
type Row struct {
	Implementation string           `json:"implementation"` // "minfc sm_80", "torch fa2"
	Pattern        string           `json:"pattern"`
	Params         map[string]int64 `json:"params,omitempty"` // all of the pattern's
	SeqLen         int              `json:"seqlen"`
	Kernel         string           `json:"kernel,omitempty"` // first digits of the sha256 of the PTX: same kernel, same text
	Failure        string           `json:"failure,omitempty"`

	IndexMS     float64 `json:"index_ms"`     // choosing what to keep; 0 for patterns that do not look at the data
	AttentionMS float64 `json:"attention_ms"` // the attention kernel
	TotalMS     float64 `json:"total_ms"`
	LowMS       float64 `json:"low_ms,omitempty"`  // first quartile of the rounds, total
	HighMS      float64 `json:"high_ms,omitempty"` // third quartile
	Rounds      int     `json:"rounds,omitempty"`
	CompileS    float64 `json:"compile_s,omitempty"` // seconds before the first launch, not in any other figure

	Pairs          int64    `json:"pairs"`                        // kept query-key pairs of one head, the mean where heads differ
	Density        float64  `json:"density"`                      // Pairs over the pairs that the dense baseline keeps
	Tiles          *int64   `json:"tiles"`                        // computed, in units of 64x64, all heads and batches
	TileTFLOPS     *float64 `json:"tile_tflops"`                  // computed tiles, over AttentionMS
	UsefulTFLOPS   float64  `json:"useful_tflops"`                // kept pairs only, over TotalMS
	MatrixFraction *float64 `json:"matrix_fraction"`              // TileTFLOPS over the first of the report's rates
	VsDense        *float64 `json:"vs_dense"`                     // time of our dense kernel over TotalMS
	DenseHeads     int      `json:"dense_heads,omitempty"`        // heads that fell back to dense attention, of all batches
	SampledBlocks  int      `json:"sampled_row_blocks,omitempty"` // of each head, that pairs and tiles were counted on, where not on all
	IndexBytes     int64    `json:"index_bytes"`                  // lists and bitmaps that the attention kernel reads
	WorkspaceBytes int64    `json:"workspace_bytes,omitempty"`    // all that the index stage needs, these lists and copies of K and V included
	Recall         *float64 `json:"recall"`                       // share of the attention mass on the kept pairs, mean of rows and heads (docs/recall.md)
	RecallRows     int      `json:"recall_rows,omitempty"`        // rows of each head that it is the mean of
	Error          *float64 `json:"error"`                        // of the output against dense: relative Frobenius norm over sampled rows
	PredictedMS    *float64 `json:"predicted_ms,omitempty"`
}

// Label is the pattern with its parameters: "a_shape sink=128 window=1024".
func (r Row) Label() string {
	parts := []string{r.Pattern}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		parts = append(parts, fmt.Sprintf("%s=%d", name, r.Params[name]))
	}
	return strings.Join(parts, " ")
}

// Ours says whether the row is a kernel of minfc.
func (r Row) Ours() bool { return strings.HasPrefix(r.Implementation, "minfc") }

// finish computes the rates from the times and counts: of tiles in the attention kernel, of kept pairs in the whole call.
func (r *Row) finish(c Call, rates []Rate) {
	if r.TotalMS <= 0 {
		return
	}
	perPair := 4 * float64(c.HeadDim) * float64(c.QHeads) * float64(c.Batch)
	r.UsefulTFLOPS = perPair * float64(r.Pairs) / r.TotalMS / 1e9
	if r.Tiles == nil || r.AttentionMS <= 0 {
		return
	}
	tile := 4 * float64(c.HeadDim) * 64 * 64 * float64(*r.Tiles) / r.AttentionMS / 1e9
	r.TileTFLOPS = &tile
	if len(rates) > 0 && rates[0].TFLOPS > 0 {
		fraction := tile / rates[0].TFLOPS
		r.MatrixFraction = &fraction
	}
}

// JSON is the report as text, the same bytes for the same report.
func (r *Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, fmt.Errorf("internal: report: %w", err)
	}
	return append(text, '\n'), nil
}

// ReadReport reads the JSON form of a report. Errors name the file.
func ReadReport(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := ParseReport(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// ParseReport is ReadReport without the file.
func ParseReport(data []byte) (*Report, error) {
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("not a benchmark report: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("report has schema %d, want %d; measure again with this version", r.Schema, Schema)
	}
	for i, row := range r.Rows {
		if row.Failure == "" && !(row.TotalMS > 0) {
			return nil, fmt.Errorf("row %d of the report has a total time of %v ms, want more than 0", i, row.TotalMS)
		}
	}
	return r, nil
}

func machineOf(i device.Info) Machine {
	return Machine{Name: i.Name, Driver: i.Driver, DriverVersion: i.DriverVersion, Capability: fmt.Sprintf("%d.%d", i.Major, i.Minor),
		Multiprocessors: i.Multiprocessors, Emulated: i.Driver == "emu"}
}
