package search

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/workload"
)

// Source has the inputs of all layers of a model: samples of each, all of one shape.
type Source struct {
	Shape           qkv.Shape // of one sample: Batch is 1
	DType           abi.DType
	Layers, Samples int

	load  func(layer int) ([]prompt, error) // its samples, [Samples]
	close func() error
}

// Close releases the files.
func (s *Source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// prompt is one sample of one layer: tensors of the host, or what the device makes them from.
type prompt struct {
	id   string // what the tensors are, word for word or as a digest
	in   *qkv.Input
	made *workload.Spec
}

// Generated are layers of the workload generator: layer i of sample s has the seed of the spec and i + s layers more.
func Generated(s workload.Spec, layers, samples int) (*Source, error) {
	if layers < 1 || samples < 1 {
		return nil, fmt.Errorf("found %d layers and %d samples, want at least 1 of each", layers, samples)
	}
	s.Batch = 1
	if err := s.Check(); err != nil {
		return nil, err
	}
	return &Source{
		Shape: qkv.Shape{Batch: 1, QHeads: s.QHeads, KVHeads: s.KVHeads, SeqQ: s.SeqLen, SeqK: s.SeqLen, HeadDim: s.HeadDim},
		DType: s.DType, Layers: layers, Samples: samples,
		load: func(layer int) (out []prompt, err error) {
			for i := range samples {
				own := s
				own.Seed += uint64(i*layers + layer)
				out = append(out, prompt{id: fmt.Sprintf("generated %+v", own), made: &own})
			}
			return out, nil
		},
	}, nil
}

// place is where a layer lies: layer number `layer` of a file.
type place struct {
	path  string
	file  *qkv.File
	layer int
	batch int
}

// Files are the layers of some files, in the order of the files and of the layers in each. The files hold so many samples of the model, one
// after the other, each of all layers; entries of the batch are samples, too.
func Files(paths []string, layout qkv.Layout, samples int) (_ *Source, err error) {
	s := &Source{}
	var places []place
	s.close = func() error {
		var errs []error
		for _, p := range places {
			if p.layer == 0 {
				errs = append(errs, p.file.Close())
			}
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, path := range paths {
		f, err := qkv.Open(path, layout)
		if err != nil {
			return nil, err
		}
		for i := range f.Layers() {
			places = append(places, place{path: path, file: f, layer: i})
			if err := s.describe(&places[len(places)-1]); err != nil {
				return nil, err
			}
		}
	}
	if samples < 1 || len(places)%samples != 0 {
		return nil, fmt.Errorf("the files have %d layers, which are not %d samples of a model: want a multiple of the samples", len(places), samples)
	}
	s.Layers = len(places) / samples
	return s, s.group(places, samples)
}

// describe checks the shape of a layer against the layers before it.
func (s *Source) describe(p *place) error {
	in, err := p.file.Describe(p.layer)
	if err != nil {
		return err
	}
	p.batch = in.Batch
	shape := in.Shape
	shape.Batch = 1
	switch {
	case shape.SeqQ != shape.SeqK || shape.SeqQ < 1:
		return fmt.Errorf("%s: q has %d rows and k has %d, a search wants whole prompts: as many rows of each, at least 1", p.path, shape.SeqQ, shape.SeqK)
	case s.DType == "":
		s.Shape, s.DType = shape, in.Format
	case shape != s.Shape || in.Format != s.DType:
		return fmt.Errorf("%s: layer %d of the file has %s, the layers before it have %s: all layers of a model have one shape and type, and all samples one length",
			p.path, p.layer, describeShape(shape, in.Format), describeShape(s.Shape, s.DType))
	}
	return nil
}

func describeShape(s qkv.Shape, t abi.DType) string {
	return fmt.Sprintf("%d q heads, %d kv heads, %d tokens, head dim %d, %s", s.QHeads, s.KVHeads, s.SeqQ, s.HeadDim, t)
}

// group finds the samples of each layer.
func (s *Source) group(places []place, samples int) error {
	for layer := range s.Layers {
		n := 0
		for i := range samples {
			n += places[i*s.Layers+layer].batch
		}
		if layer == 0 {
			s.Samples = n
		}
		if n != s.Samples {
			return fmt.Errorf("layer %d has %d samples and layer 0 has %d: want as many of every layer", layer, n, s.Samples)
		}
	}
	s.load = func(layer int) (out []prompt, err error) {
		for i := range samples {
			own, err := places[i*s.Layers+layer].read()
			if err != nil {
				return nil, err
			}
			out = append(out, own...)
		}
		return out, nil
	}
	return nil
}

// read reads the samples of a layer, and finds what is no number.
func (p place) read() ([]prompt, error) {
	in, err := p.file.Read(p.layer)
	if err != nil {
		return nil, err
	}
	out := make([]prompt, in.Batch)
	for b := range out {
		one := *in
		one.Batch = 1
		digests := make([][sha256.Size]byte, 3)
		var g errgroup.Group
		for i, t := range []struct {
			name string
			data *[]byte
		}{{"q", &one.Q}, {"k", &one.K}, {"v", &one.V}} {
			bytes := len(*t.data) / in.Batch
			*t.data = (*t.data)[b*bytes:][:bytes]
			g.Go(func() error {
				digests[i] = sha256.Sum256(*t.data)
				return checkFinite(t.name, *t.data, in)
			})
		}
		if err := g.Wait(); err != nil {
			return nil, fmt.Errorf("%s: layer %d of the file: %w", p.path, p.layer, err)
		}
		out[b] = prompt{id: fmt.Sprintf("%s %x", describeShape(one.Shape, one.Format), digests), in: &one}
	}
	return out, nil
}

// checkFinite refuses elements that are infinite or no number: every error would be one, too.
func checkFinite(name string, data []byte, in *qkv.Input) error {
	exponent := map[abi.DType]uint16{abi.BF16: 0x7f80, abi.F16: 0x7c00}[in.Format]
	for i := 0; i+1 < len(data); i += 2 {
		if binary.LittleEndian.Uint16(data[i:])&exponent == exponent {
			row := i / 2 / in.HeadDim
			return fmt.Errorf("%s has a NaN or an infinity, first in head %d, row %d: nothing can be compared with it", name, row/in.SeqK, row%in.SeqK)
		}
	}
	return nil
}
