package qkv

import (
	"fmt"

	"github.com/minfc/minfc/safetensors"
)

// File is an open file with the tensors of one layer, q, k and v, or of several, layers.0.q, layers.0.k, layers.0.v, layers.1.q and so on.
type File struct {
	path   string
	file   *safetensors.File
	layout Layout
	layers []string // the prefixes of their tensors' names
}

// Open opens a file and finds its layers; "-" is standard input. Tensors are read by Read. Errors begin with the path.
func Open(path string, l Layout) (*File, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	out := &File{path: path, file: f, layout: l, layers: []string{""}}
	if _, plain := f.Lookup("q"); !plain {
		for i := 0; ; i++ {
			prefix := fmt.Sprintf("layers.%d.", i)
			if _, there := f.Lookup(prefix + "q"); !there {
				break
			}
			if i == 0 {
				out.layers = nil
			}
			out.layers = append(out.layers, prefix)
		}
	}
	return out, nil
}

// Layers is how many there are.
func (f *File) Layers() int { return len(f.layers) }

// Describe judges the tensors of a layer and reads none: the input has its shape and format, and no bytes.
func (f *File) Describe(layer int) (*Input, error) {
	in, _, err := describe(f.file, f.layout, f.layers[layer])
	return in, f.wrap(err)
}

// Read reads the tensors of a layer.
func (f *File) Read(layer int) (*Input, error) {
	in, infos, err := describe(f.file, f.layout, f.layers[layer])
	if err == nil {
		err = in.read(f.file, infos)
	}
	return in, f.wrap(err)
}

func (f *File) wrap(err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", f.path, err)
	}
	return err
}

// Close releases the file.
func (f *File) Close() error { return f.file.Close() }
