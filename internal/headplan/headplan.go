// Package headplan reads the file of a head plan beside the patterns that it names, and compiles what its heads run.
package headplan

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/plans"
	"github.com/minfc/minfc/runtime/artifact"
)

// File is a head plan, and where the patterns are that it names beyond the library's.
type File struct {
	*plan.Plan
	path     string
	patterns *Patterns
}

// maxPlan bounds what is read of a plan, in bytes; a line for each of a million heads fits.
const maxPlan = 128 << 20

// Read reads a plan, and says first what is wrong with the file of patterns; "" stands for none.
func Read(path, patterns string) (*File, error) {
	beyond, err := input.ReadOptional(patterns)
	if err != nil {
		return nil, err
	}
	return ReadBeside(path, beyond)
}

// ReadBeside reads a plan that may name the patterns of a file beside the library's; nil stands for none. Where there is no such file, the path
// may be the name of a model with a published plan.
func ReadBeside(path string, beyond *input.File) (*File, error) {
	patterns, err := patternsOf(beyond)
	if err != nil {
		return nil, err
	}
	return patterns.ReadPlan(path)
}

// ReadPlan reads a plan that names these patterns; see ReadBeside.
func (p *Patterns) ReadPlan(path string) (*File, error) {
	data, err := readBounded(path, "a head plan")
	if errors.Is(err, os.ErrNotExist) && plans.Has(path) {
		own, err := plans.Find(path)
		return &File{own, path, p}, err
	}
	if err != nil {
		return nil, err
	}
	own, err := plan.Read(path, data, p.Known)
	return &File{own, path, p}, err
}

// readBounded reads a file that a person may have named by mistake.
func readBounded(path, what string) ([]byte, error) {
	switch st, err := os.Stat(path); {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%s: is a directory, wanted %s", path, what)
	case err == nil && st.Size() > maxPlan:
		return nil, fmt.Errorf("%s: larger than %d MB, wanted %s", path, maxPlan>>20, what)
	}
	return os.ReadFile(path)
}

// From is the plan of the query heads from first on, which is what a process runs that holds these heads alone. heads is how many they are;
// 0 stands for all up to the last one that the plan names.
func (f *File) From(first, heads int) (*File, error) {
	if heads == 0 {
		heads = f.QHeads() - first
	}
	p, err := f.Plan.From(first, heads)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return &File{p, f.path, f.patterns}, nil
}

// Heads are the heads of every layer of a model with so many of them; 0 stands for the last one that the plan names.
func (f *File) Heads(heads int) (layers [][]plan.Head, err error) {
	if heads == 0 {
		heads = f.QHeads()
	}
	if heads < 1 {
		return nil, fmt.Errorf("%s: no layer has an entry, say with --heads how many query heads the model has", f.path)
	}
	for i := range f.Layers {
		layer, _, err := f.Assign(i, heads) // heads without an entry are for run to speak of
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// Compile compiles the patterns that the heads of some layers need: a pattern of the file comes before the library's one of its name.
func (f *File) Compile(opts compile.Options, watch *compile.Observer, layers ...[]plan.Head) (*artifact.Artifact, error) {
	return f.patterns.Compile(opts, watch, layers...)
}

// Range is a layer, or all where none is named: the first one and the one after the last.
func (f *File) Range(layer *int) (first, end int, err error) {
	if layer == nil {
		return 0, len(f.Layers), nil
	}
	if *layer < 0 || *layer >= len(f.Layers) {
		return 0, 0, fmt.Errorf("--layer: %s has no layer %d, it has %d, counted from 0", f.path, *layer, len(f.Layers))
	}
	return *layer, *layer + 1, nil
}

// Write prints what the heads of some layers run, a line each, with what a search noted of them.
func (f *File) Write(to io.Writer, first, end int) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	noted := ""
	if f.Search != nil {
		noted = "density\tms\terror\t"
	}
	fmt.Fprintf(w, "layer\thead\tscore\t%spattern\n", noted)
	line := func(layer, head string, h plan.Head) {
		of := ""
		if noted != "" {
			of = "\t\t\t"
		}
		if x := h.Found; x != nil && noted != "" {
			of = fmt.Sprintf("%.3g\t%.3g\t%.3g\t", x.Density, x.Millis, x.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%s%s\n", layer, head, h.Score, of, h)
	}
	for i := first; i < end; i++ {
		for _, h := range slices.Sorted(maps.Keys(f.Layers[i])) {
			line(strconv.Itoa(i), strconv.Itoa(h), f.Layers[i][h])
		}
	}
	line("all", "others", f.Default)
	return w.Flush()
}

// EncodeLayers is what Write prints, as JSON.
func (f *File) EncodeLayers(first, end int) ([]byte, error) {
	data, err := f.ShowJSON(first, end)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return data, nil
}

// Encode is the plan in a format: minfc or minference.
func (f *File) Encode(format string) ([]byte, error) {
	write := map[string]func() ([]byte, error){"minfc": f.JSON, "minference": f.MInference}[format]
	data, err := write()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return data, nil
}
