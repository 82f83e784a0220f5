// Command capi is the C library: built with -buildmode=c-shared it is libminfc.so, and minfc.h beside it says what that has. It is the only
// cgo of the project beside the gorgonia driver.
//
//	go build -buildmode=c-shared -ldflags '-s -w' -o bin/libminfc.so ./capi
//
// A call goes through entry.c, in C, which refuses what must not enter Go (calls of a forked child) and structs of another header, then
// through export.go, which turns C's types into Go's, then to a function of its own name, in Go alone.
package main

func main() {} // a library of C has none to run, but the go command asks for it
