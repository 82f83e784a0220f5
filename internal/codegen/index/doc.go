// Package index makes the kernels of the index stage, which look at Q and K before attention and write the lists of what it keeps.
// kernels.go has the table of them; package ir says what the lists mean, in index.go.
package index
