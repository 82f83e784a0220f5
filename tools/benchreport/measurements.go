package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

const folder = "docs/bench"

// measurements are all files of the folder: *.json are reports, *.txt a title line and what a command printed.
type measurements struct {
	files   []string                 // names, sorted
	reports map[string]*bench.Report // files of minfc bench and bench/peers.py
	checked map[string]report        // files of bench/interleave.py
	printed map[string]string
}

func readMeasurements(root string) (*measurements, error) {
	m := &measurements{reports: map[string]*bench.Report{}, checked: map[string]report{}, printed: map[string]string{}}
	for _, pattern := range []string{"*.json", "*.txt"} {
		paths, err := filepath.Glob(filepath.Join(root, folder, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if err := m.read(path); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	slices.Sort(m.files)
	return m, nil
}

func (m *measurements) read(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	m.files = append(m.files, name)
	if strings.HasSuffix(name, ".txt") {
		m.printed[name] = string(data)
		return nil
	}
	var sniff struct{ Schema int }
	if json.Unmarshal(data, &sniff) != nil || sniff.Schema == 0 {
		m.checked[name], err = readChecked(data)
		return err
	}
	m.reports[name], err = bench.ParseReport(data)
	return err
}

// machines are the GPUs that anything was measured on, as reports name them.
func (m *measurements) machines() []string {
	found := map[string]bool{}
	for _, r := range m.reports {
		found[r.Machine.String()] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// dates are the days of the files, oldest first.
func (m *measurements) dates() []string {
	found := map[string]bool{}
	for _, r := range m.reports {
		found[r.Date] = true
	}
	for _, r := range m.checked {
		found[r.Date] = true
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found))
}
