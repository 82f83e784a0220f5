package dsl

// TreeWithoutSpans is PrintAST with nothing that depends on the layout.
func TreeWithoutSpans(f *File) string { return printTree(f, false) }

// SetUsages lists how the sets are written.
func SetUsages() []string {
	var out []string
	for _, s := range setForms {
		out = append(out, s.usage)
	}
	return out
}

// IndexUsages lists how the values of the index stage are written.
func IndexUsages() []string { return indexUsages() }
