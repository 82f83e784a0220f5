package files

import (
	"fmt"
	"os"
	"path/filepath"
)

// Distinct proves that no output is one of the inputs or another output. Empty paths and "-" do not count.
func Distinct(inputs, outputs []string) error {
	taken := map[string]string{}
	for _, p := range inputs {
		taken[realPath(p)] = "an input"
	}
	for _, p := range outputs {
		if p == "" || p == "-" || !regular(p) {
			continue
		}
		if what, ok := taken[realPath(p)]; ok {
			return fmt.Errorf("%s would be written over, it is also %s: name another file", p, what)
		}
		taken[realPath(p)] = "another output"
	}
	return nil
}

// regular says whether p is a file to be replaced, or not there yet; /dev/null may be named twice.
func regular(p string) bool {
	st, err := os.Stat(p)
	return err != nil || st.Mode().IsRegular()
}

// Writable says whether new files can be made at paths. One that is there already, or a pipe, is left alone.
func Writable(paths ...string) error {
	for _, path := range paths {
		if err := writable(path); err != nil {
			return err
		}
	}
	return nil
}

func writable(path string) error {
	if path == "" || path == "-" {
		return nil
	}
	switch st, err := os.Stat(path); {
	case err == nil && st.IsDir():
		return Write(path, nil) // says so
	case err == nil:
		return nil
	}
	return CheckWritable(path)
}

// realPath follows links, also of the folder of a file that is not there yet.
func realPath(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		p = abs
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(p)); err == nil {
		p = filepath.Join(dir, filepath.Base(p))
	}
	if real, err := filepath.EvalSymlinks(p); err == nil {
		return real
	}
	return p
}
