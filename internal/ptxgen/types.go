package ptxgen

import (
	"github.com/llir/llvm/ir/types"
)

// class is the kind of PTX register that holds a scalar.
type class uint8

const (
	classNone class = iota
	classPred       // i1
	classH          // i16
	classR          // i32, <2 x half>, shared pointers
	classF          // float
	classD          // i64, global pointers, addresses of byval parameters
	numClasses
)

// classRows says how each class is declared and named.
var classRows = [numClasses]struct{ prefix, decl string }{
	classPred: {"%p", ".pred"},
	classH:    {"%h", ".b16"},
	classR:    {"%r", ".b32"},
	classF:    {"%f", ".f32"},
	classD:    {"%rd", ".b64"},
}

// Address spaces of NVVM.
const (
	spaceGeneric types.AddrSpace = 0 // here: byval parameters only
	spaceGlobal  types.AddrSpace = 1
	spaceShared  types.AddrSpace = 3
)

// classOf returns the register class of a scalar type, or classNone.
func classOf(t types.Type) class {
	switch t := t.(type) {
	case *types.IntType:
		switch t.BitSize {
		case 1:
			return classPred
		case 16:
			return classH
		case 32:
			return classR
		case 64:
			return classD
		}
	case *types.FloatType:
		if t.Kind == types.FloatKindFloat {
			return classF
		}
	case *types.PointerType:
		switch t.AddrSpace {
		case spaceGlobal, spaceGeneric:
			return classD
		case spaceShared:
			return classR
		}
	case *types.VectorType:
		if isHalf2(t) {
			return classR
		}
	}
	return classNone
}

func isHalf2(t types.Type) bool {
	v, ok := t.(*types.VectorType)
	return ok && !v.Scalable && v.Len == 2 && sameType(v.ElemType, types.Half)
}

// vectorOf returns element class and length of the vectors that live as separate scalars: 2 or 4 of i32 or float.
func vectorOf(t types.Type) (class, int) {
	v, ok := t.(*types.VectorType)
	if !ok || v.Scalable || v.Len != 2 && v.Len != 4 {
		return classNone, 0
	}
	if c := classOf(v.ElemType); c == classF || c == classR && types.IsInt(v.ElemType) {
		return c, int(v.Len)
	}
	return classNone, 0
}

// partsOf appends the classes of the scalars that hold a value of type t: one for a scalar, several for a vector or
// a struct of scalars, none for anything else.
func partsOf(dst []class, t types.Type) []class {
	if c := classOf(t); c != classNone {
		return append(dst, c)
	}
	if c, n := vectorOf(t); c != classNone {
		for range n {
			dst = append(dst, c)
		}
		return dst
	}
	s, ok := t.(*types.StructType)
	if !ok || s.Opaque {
		return dst
	}
	start := len(dst)
	for _, f := range s.Fields {
		c := classOf(f)
		if c == classNone {
			return dst[:start]
		}
		dst = append(dst, c)
	}
	return dst
}

// sizeOf returns the bytes of a type in memory, or 0 for types that have no place there.
func sizeOf(t types.Type) int64 {
	switch t := t.(type) {
	case *types.IntType:
		if t.BitSize%8 == 0 && t.BitSize <= 64 {
			return int64(t.BitSize / 8)
		}
	case *types.FloatType:
		switch t.Kind {
		case types.FloatKindHalf:
			return 2
		case types.FloatKindFloat:
			return 4
		case types.FloatKindDouble:
			return 8
		}
	case *types.PointerType:
		if t.AddrSpace == spaceShared {
			return 4
		}
		return 8
	case *types.VectorType:
		return int64(t.Len) * sizeOf(t.ElemType)
	case *types.ArrayType:
		return int64(t.Len) * sizeOf(t.ElemType)
	}
	return 0
}

// sameType is Equal without its cost: types compare by structure, and mostly are one and the same.
func sameType(a, b types.Type) bool {
	if a == b {
		return true
	}
	switch a := a.(type) {
	case *types.PointerType:
		b, ok := b.(*types.PointerType)
		return ok && a.AddrSpace == b.AddrSpace && sameType(a.ElemType, b.ElemType)
	case *types.VectorType:
		b, ok := b.(*types.VectorType)
		return ok && a.Len == b.Len && a.Scalable == b.Scalable && sameType(a.ElemType, b.ElemType)
	}
	return a.Equal(b)
}
