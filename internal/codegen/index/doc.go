// Package index makes the kernels of the index stage, which look at Q and K before attention and write the lists of
// what it keeps. ../../ir/index.go says what the lists mean.
package index
