//go:build cgo && linux && (amd64 || arm64)

package main

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Wno-unused-parameter -fvisibility=hidden
#include "minfc.h"
*/
import "C"

import (
	"sync"
	"unsafe"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// answer writes an error of a call where its caller sees it, and gives its code.
func answer(err error, out *C.minfc_error) C.int {
	if err == nil {
		return C.MINFC_OK
	}
	code, text := codeOf(err), cut(err.Error(), len(out.message)-1)
	out.code = C.int32_t(code)
	room := unsafe.Slice((*byte)(unsafe.Pointer(&out.message[0])), len(out.message))
	room[copy(room, text)] = 0
	return C.int(code)
}

// answerText is answer of a call whose result is a text.
func answerText(text string, err error, to *C.char, capacity C.size_t, length *C.size_t, out *C.minfc_error) C.int {
	if err != nil {
		return answer(err, out)
	}
	if length != nil {
		*length = C.size_t(len(text))
	}
	if to != nil && capacity > 0 {
		room := unsafe.Slice((*byte)(unsafe.Pointer(to)), capacity)
		room[copy(room, cut(text, int(capacity)-1))] = 0
	}
	return C.MINFC_OK
}

func shapeOf(s *C.minfc_shape) shape {
	at := func(x C.minfc_stride) runtime.Stride {
		return runtime.Stride{Batch: int64(x.batch), Head: int64(x.head), Row: int64(x.row)}
	}
	return shape{explicit: s.explicit_strides != 0, list: s.heads != nil, only: headList(s.heads, s.head_count), Shape: minfc.Shape{Batch: int(s.batch), SeqQ: int(s.seq_q), SeqK: int(s.seq_k),
		QOffset: int(s.q_offset), Scale: float64(s.scale), NoFallback: s.no_fallback != 0,
		Strides: runtime.Strides{Q: at(s.q), K: at(s.k), V: at(s.v), O: at(s.o), LSE: at(s.lse)},
		Lengths: lengthsOf(int(s.lengths)), TotalQ: int(s.total_q), TotalK: int(s.total_k),
		SpanCap: int(s.span_cap), KeyCap: int(s.key_cap), Reach: int(s.reach)}}
}

// headList copies a list of heads; nil if there is none.
func headList(at *C.int32_t, n C.int32_t) []int {
	if at == nil || n <= 0 {
		return nil
	}
	out := make([]int, n)
	for i, h := range unsafe.Slice(at, int(n)) {
		out[i] = int(h)
	}
	return out
}

// lengthsOf is an enum minfc_lengths; what is none is refused by package runtime.
func lengthsOf(n int) runtime.Lengths { return runtime.Lengths(min(max(n, 0), 255)) }

func headsOf(h *C.minfc_heads) heads {
	return heads{q: int(h.q_heads), kv: int(h.kv_heads), dim: int(h.head_dim), dtype: int(h.dtype)}
}

func pointersOf(p *C.minfc_pointers) pointers {
	return pointers{Q: device.Ptr(p.q), K: device.Ptr(p.k), V: device.Ptr(p.v), O: device.Ptr(p.o), LSE: device.Ptr(p.lse),
		Workspace: device.Ptr(p.workspace), WorkspaceBytes: bytesOf(p.workspace_bytes),
		LengthsQ: device.Ptr(p.lengths_q), LengthsK: device.Ptr(p.lengths_k), Offsets: device.Ptr(p.offsets),
		StartsQ: device.Ptr(p.starts_q), StartsK: device.Ptr(p.starts_k),
		Spans: device.Ptr(p.spans), SpanCount: device.Ptr(p.span_count), Keys: device.Ptr(p.keys), KeyCount: device.Ptr(p.key_count),
		Mass: device.Ptr(p.mass), MassRows: device.Ptr(p.mass_rows)}
}

var version = sync.OnceValue(func() *C.char { return C.CString(compile.Version) })

//export goVersion
func goVersion() *C.char { return version() }

//export goOpen
func goOpen(spec *C.char, out *C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return made(out)(open(C.GoString(spec))) }), e)
}

// made puts a new object where its caller wants it.
func made(out *C.uintptr_t) func(h handle, err error) error {
	return func(h handle, err error) error {
		if err == nil {
			*out = C.uintptr_t(h)
		}
		return err
	}
}

//export goDeviceInfo
func goDeviceInfo(d C.uintptr_t, to *C.char, capacity C.size_t, length *C.size_t, e *C.minfc_error) C.int {
	text, err := guardText(func() (string, error) { return deviceInfo(handle(d)) })
	return answerText(text, err, to, capacity, length, e)
}

//export goDeviceClose
func goDeviceClose(d C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return closeDevice(handle(d)) }), e)
}

//export goAlloc
func goAlloc(d C.uintptr_t, bytes C.uint64_t, out *C.uint64_t, e *C.minfc_error) C.int {
	return answer(guard(func() error {
		p, err := alloc(handle(d), bytesOf(bytes))
		if err == nil {
			*out = C.uint64_t(p)
		}
		return err
	}), e)
}

//export goFree
func goFree(d C.uintptr_t, p C.uint64_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return free(handle(d), device.Ptr(p)) }), e)
}

//export goCopyToDevice
func goCopyToDevice(d C.uintptr_t, to C.uint64_t, from unsafe.Pointer, bytes C.uint64_t, stream C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error {
		return copyToDevice(handle(d), device.Ptr(to), from, bytesOf(bytes), uintptr(stream))
	}), e)
}

//export goCopyToHost
func goCopyToHost(d C.uintptr_t, to unsafe.Pointer, from C.uint64_t, bytes C.uint64_t, stream C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error {
		return copyToHost(handle(d), to, device.Ptr(from), bytesOf(bytes), uintptr(stream))
	}), e)
}

//export goSynchronize
func goSynchronize(d C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return synchronize(handle(d)) }), e)
}

//export goAttentionNew
func goAttentionNew(d C.uintptr_t, spec *C.char, h *C.minfc_heads, out *C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return made(out)(newAttention(handle(d), C.GoString(spec), headsOf(h))) }), e)
}

//export goAttentionClose
func goAttentionClose(a C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return closeAttention(handle(a)) }), e)
}

//export goPrepare
func goPrepare(a C.uintptr_t, s *C.minfc_shape, out *C.uintptr_t, workspace *C.uint64_t, e *C.minfc_error) C.int {
	return answer(guard(func() error {
		h, bytes, err := prepare(handle(a), shapeOf(s))
		if err == nil {
			*out, *workspace = C.uintptr_t(h), C.uint64_t(bytes)
		}
		return err
	}), e)
}

//export goPrepareRecall
func goPrepareRecall(of C.uintptr_t, rows *C.minfc_rows, n C.int32_t, out *C.uintptr_t, workspace *C.uint64_t, e *C.minfc_error) C.int {
	return answer(guard(func() error {
		given := unsafe.Slice(rows, max(0, int(n)))
		var want []minfc.RowRange
		for _, r := range given {
			want = append(want, minfc.RowRange{First: int(r.first), Step: int(r.step), Count: int(r.count)})
		}
		h, bytes, err := prepareRecall(handle(of), want)
		if err != nil {
			return err
		}
		*out, *workspace = C.uintptr_t(h), C.uint64_t(bytes)
		for i, r := range want {
			given[i].first, given[i].step, given[i].count = C.int32_t(r.First), C.int32_t(r.Step), C.int32_t(r.Count)
		}
		return nil
	}), e)
}

//export goCallClose
func goCallClose(c C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return closeCall(handle(c)) }), e)
}

//export goRun
func goRun(c C.uintptr_t, p *C.minfc_pointers, stream C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return run(handle(c), pointersOf(p), uintptr(stream)) }), e)
}

//export goRunStages
func goRunStages(c C.uintptr_t, p *C.minfc_pointers, stages C.int32_t, stream C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error { return runStages(handle(c), pointersOf(p), int(stages), uintptr(stream)) }), e)
}

//export goDescribe
func goDescribe(c C.uintptr_t, to *C.char, capacity C.size_t, length *C.size_t, e *C.minfc_error) C.int {
	text, err := guardText(func() (string, error) { return describe(handle(c)) })
	return answerText(text, err, to, capacity, length, e)
}

//export goChosen
func goChosen(c C.uintptr_t, p *C.minfc_pointers, stream C.uintptr_t, to *C.char, capacity C.size_t, length *C.size_t,
	e *C.minfc_error) C.int {
	text, err := guardText(func() (string, error) { return chosen(handle(c), pointersOf(p), uintptr(stream)) })
	return answerText(text, err, to, capacity, length, e)
}

//export goEstimate
func goEstimate(spec *C.char, h *C.minfc_heads, s *C.minfc_shape, machine, to *C.char, capacity C.size_t, length *C.size_t,
	e *C.minfc_error) C.int {
	text, err := guardText(func() (string, error) {
		return estimate(C.GoString(spec), headsOf(h), shapeOf(s), C.GoString(machine))
	})
	return answerText(text, err, to, capacity, length, e)
}

//export goPlanRead
func goPlanRead(name, plan, to *C.char, capacity C.size_t, length *C.size_t, e *C.minfc_error) C.int {
	text, err := guardText(func() (string, error) { return readPlan(C.GoString(name), C.GoString(plan)) })
	return answerText(text, err, to, capacity, length, e)
}

//export goWorkload
func goWorkload(d C.uintptr_t, kind *C.char, seed C.uint64_t, h *C.minfc_heads, batch, rows C.int32_t, q, k, v C.uint64_t,
	stream C.uintptr_t, e *C.minfc_error) C.int {
	return answer(guard(func() error {
		s := workloadSpec{C.GoString(kind), uint64(seed), int(batch), int(rows)}
		return s.write(handle(d), headsOf(h), pointers{Q: device.Ptr(q), K: device.Ptr(k), V: device.Ptr(v)}, uintptr(stream))
	}), e)
}
