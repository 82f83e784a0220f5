package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// Kept are the files of a kind.
type Kept struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Status says what there is.
type Status struct {
	On     bool            `json:"on"`
	Why    string          `json:"why,omitempty"` // it is off, or does not take anything
	Folder string          `json:"folder,omitempty"`
	Limit  int64           `json:"limit_bytes,omitempty"`
	Files  int             `json:"files"`
	Bytes  int64           `json:"bytes"`
	Kinds  map[string]Kept `json:"kinds"`
}

// DefaultStatus looks at the cache that the environment asks for. It makes the folder where there is none, to see whether that is possible.
func DefaultStatus() Status {
	s := Status{Kinds: map[string]Kept{Artifact: {}, Cubin: {}}}
	c, why := fromEnvironment()
	if why != nil {
		s.Why = why.Error()
	}
	if c == nil {
		return s
	}
	s.Folder, s.Limit = c.dir, c.limit
	all, err := c.list()
	for _, e := range all {
		if e.kind == "" {
			continue
		}
		k := s.Kinds[e.kind]
		s.Kinds[e.kind] = Kept{k.Files + 1, k.Bytes + e.bytes}
		s.Files, s.Bytes = s.Files+1, s.Bytes+e.bytes
	}
	if err == nil {
		err = c.writable()
	}
	if s.On = err == nil; err != nil {
		s.Why = fmt.Sprintf("nothing can be written there: %v", err)
	}
	return s
}

// writable says whether files can be made in the folder.
func (c *Cache) writable() error {
	f, err := c.create()
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Write prints the status for people.
func (s Status) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	state := "on"
	if !s.On {
		state = "off"
	}
	if s.Why != "" {
		state += ": " + s.Why
	}
	fmt.Fprintf(t, "cache\t%s\n", state)
	if s.Folder != "" {
		fmt.Fprintf(t, "folder\t%s\n", s.Folder)
		for _, kind := range []string{Artifact, Cubin} {
			fmt.Fprintf(t, "%ss\t%s\n", kind, s.Kinds[kind])
		}
		fmt.Fprintf(t, "all\t%s of %s\n", Kept{s.Files, s.Bytes}, megabytes(s.Limit))
	}
	return t.Flush()
}

// JSON is the status as JSON.
func (s Status) JSON() ([]byte, error) { return indented(s) }

func (k Kept) String() string { return fmt.Sprintf("%d files, %s", k.Files, megabytes(k.Bytes)) }

// JSON is the number of files and bytes as JSON.
func (k Kept) JSON() ([]byte, error) { return indented(k) }

func indented(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }
