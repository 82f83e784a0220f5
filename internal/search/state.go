package search

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/minfc/minfc/internal/files"
)

// stateSchema is the version of the state's format, and of what its numbers mean: other versions are left alone.
const stateSchema = 1

// state is what was measured so far: numbers of every head by what they depend on. It lies beside the plan, so that a search that ended early
// goes on where it was, and one with another goal measures nothing again.
type state struct {
	path    string // "" keeps it in memory
	unsaved bool
	entries map[string][][]float64
}

type stateFile struct {
	Schema  int                    `json:"schema"`
	Entries map[string][][]float64 `json:"measured"`
}

// readState reads the state at a path, if there is one and fresh does not ask for a new one.
func readState(path string, fresh bool) (*state, error) {
	s := &state{path: path, entries: map[string][][]float64{}}
	if path == "" || fresh {
		return s, nil
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	var file stateFile
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w: it is no state of a search; remove it, or search with --fresh", path, err)
	case file.Schema != stateSchema:
		return nil, fmt.Errorf("%s: it is the state of a search by another version of minfc; search with --fresh", path)
	case file.Entries != nil:
		s.entries = file.Entries
	}
	return s, nil
}

// save writes what is new, whole or not at all.
func (s *state) save() error {
	if s.path == "" || !s.unsaved {
		return nil
	}
	data, err := json.Marshal(stateFile{stateSchema, s.entries}) // keys are sorted: the same measurements give the same bytes
	if err != nil {
		return fmt.Errorf("internal: state of the search: %w", err)
	}
	s.unsaved = false
	return files.Write(s.path, append(data, '\n'))
}

// keyOf is the key of what depends on some words.
func keyOf(words ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(words, "\x00"))))[:32]
}

func (s *state) put(key string, rows [][]float64) {
	s.entries[key], s.unsaved = rows, true
}

// find returns numbers of so many heads; a damaged entry counts as none.
func (s *state) find(key string, heads, numbers int) ([][]float64, bool) {
	rows, there := s.entries[key]
	if len(rows) != heads {
		return nil, false
	}
	for _, r := range rows {
		there = there && len(r) == numbers
	}
	return rows, there
}
