"""The C library: where it lies, the structs and functions of capi/minfc.h, and its errors as Python's.

Other modules call functions of `lib` through `check`, but for minfc_run, which _op calls with memory of its own.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, NoReturn

from ._version import __version__

ABI_VERSION = 1
OK, E_ARGUMENT, E_PATTERN, E_FORK = 0, 1, 2, 9
BF16, F16 = 1, 2
PADDED, RAGGED = 1, 2  # enum minfc_lengths

_SPAWN = (
    "minfc does not work in a forked child, where the threads of its library are missing: start workers with "
    'multiprocessing.get_context("spawn"), or DataLoader(..., multiprocessing_context="spawn")'
)


class Error(ctypes.Structure):
    """minfc_error: what a call writes when it fails."""

    _fields_ = [("code", c_int32), ("message", c_char * 1020)]


class _Sized(ctypes.Structure):
    """A struct that begins with the version of the ABI and its own size."""

    def __init__(self, **fields: Any):
        super().__init__(abi_version=ABI_VERSION, struct_size=ctypes.sizeof(self), **fields)


_BEGIN: list[Any] = [("abi_version", c_uint32), ("struct_size", c_uint32)]


class Heads(_Sized):
    """minfc_heads."""

    _fields_ = [*_BEGIN, ("q_heads", c_int32), ("kv_heads", c_int32), ("head_dim", c_int32), ("dtype", c_int32)]


class Stride(ctypes.Structure):
    """minfc_stride: distances in elements."""

    _fields_ = [("batch", ctypes.c_int64), ("head", ctypes.c_int64), ("row", ctypes.c_int64)]


class Shape(_Sized):
    """minfc_shape."""

    _fields_ = [
        *_BEGIN,
        ("batch", c_int32),
        ("seq_q", c_int32),
        ("seq_k", c_int32),
        ("q_offset", c_int32),
        ("scale", c_double),
        ("explicit_strides", c_int32),
        ("no_fallback", c_int32),
        ("q", Stride),
        ("k", Stride),
        ("v", Stride),
        ("o", Stride),
        ("lse", Stride),
        ("lengths", c_int32),
        ("total_q", c_int32),
        ("total_k", c_int32),
        ("reach", c_int32),
        ("span_cap", c_int32),
        ("key_cap", c_int32),
        ("heads", POINTER(c_int32)),
        ("head_count", c_int32),
        ("unused", c_int32),
    ]


class Pointers(_Sized):
    """minfc_pointers: addresses of the device."""

    _fields_ = [
        *_BEGIN,
        *((name, c_uint64) for name in ("q", "k", "v", "o", "lse", "workspace", "workspace_bytes")),
        *((name, c_uint64) for name in ("lengths_q", "lengths_k", "offsets", "starts_q", "starts_k")),
        *((name, c_uint64) for name in ("spans", "span_count", "keys", "key_count")),
        *((name, c_uint64) for name in ("mass", "mass_rows")),
    ]


class Rows(ctypes.Structure):
    """minfc_rows: count query rows, step apart, from first on; step 0: spread evenly, and first is a seed."""

    _fields_ = [("first", c_int32), ("step", c_int32), ("count", c_int32)]


# Functions of minfc.h by their arguments; each of them ends with a minfc_error and returns its code.
_JSON: list[Any] = [c_char_p, c_size_t, POINTER(c_size_t)]
_FUNCTIONS = {
    "minfc_open": [c_char_p, POINTER(c_void_p)],
    "minfc_device_info": [c_void_p, *_JSON],
    "minfc_device_close": [c_void_p],
    "minfc_alloc": [c_void_p, c_uint64, POINTER(c_uint64)],
    "minfc_free": [c_void_p, c_uint64],
    "minfc_copy_to_device": [c_void_p, c_uint64, c_void_p, c_uint64, c_void_p],
    "minfc_copy_to_host": [c_void_p, c_void_p, c_uint64, c_uint64, c_void_p],
    "minfc_synchronize": [c_void_p],
    "minfc_attention_new": [c_void_p, c_char_p, POINTER(Heads), POINTER(c_void_p)],
    "minfc_attention_close": [c_void_p],
    "minfc_prepare": [c_void_p, POINTER(Shape), POINTER(c_void_p), POINTER(c_uint64)],
    "minfc_call_close": [c_void_p],
    "minfc_run": [c_void_p, c_void_p, c_void_p],
    "minfc_run_stages": [c_void_p, c_void_p, c_int32, c_void_p],
    "minfc_prepare_recall": [c_void_p, POINTER(Rows), c_int32, POINTER(c_void_p), POINTER(c_uint64)],
    "minfc_describe": [c_void_p, *_JSON],
    "minfc_chosen": [c_void_p, POINTER(Pointers), c_void_p, *_JSON],
    "minfc_plan_read": [c_char_p, c_char_p, *_JSON],
    "minfc_workload": [c_void_p, c_char_p, c_uint64, POINTER(Heads), c_int32, c_int32, c_uint64, c_uint64, c_uint64, c_void_p],
    "minfc_estimate": [c_char_p, POINTER(Heads), POINTER(Shape), c_char_p, *_JSON],
}


def path() -> Path:
    """The library: what MINFC_LIBRARY names, or the one inside the wheel."""
    given = os.environ.get("MINFC_LIBRARY")
    return Path(given) if given else Path(__file__).with_name("libminfc.so")


def _open(at: Path) -> ctypes.CDLL:
    if not at.exists():
        raise ImportError(
            f"minfc has no library at {at}: install a wheel (pip install ./python in a clone builds one), or set MINFC_LIBRARY "
            "to the file that `go build -buildmode=c-shared -o libminfc.so ./capi` makes"
        )
    try:
        loaded = ctypes.CDLL(str(at))
    except OSError as e:
        raise ImportError(
            f"minfc's library does not load: {e}; it wants Linux with glibc, not an older one than where "
            "it was built: build it on this machine"
        ) from e
    missing = [name for name in ("minfc_version", *_FUNCTIONS) if not hasattr(loaded, name)]
    if missing:
        raise ImportError(f"{at} is no library of minfc {__version__}: it lacks {', '.join(missing)}")
    return loaded


def load(at: Path) -> ctypes.CDLL:
    """The library with its functions declared. Raises ImportError: no such file, another one, another version."""
    loaded = _open(at)
    loaded.minfc_version.restype = c_char_p
    own = loaded.minfc_version().decode()
    if own != __version__:
        raise ImportError(
            f"the library {at} is minfc {own or '(unknown: this process is a forked child)'} and the Python package is {__version__}: "
            "install the wheel again, or set MINFC_LIBRARY to a library of the same version"
        )
    for name, arguments in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = [*arguments, c_void_p], c_int
    return loaded


lib = load(path())

forked = False


def _note_fork() -> None:
    global forked
    forked = True


os.register_at_fork(after_in_child=_note_fork)


def fail(error: Error) -> NoReturn:
    """Raises what a failed call has written: ValueError where its caller is at fault, else RuntimeError."""
    if error.code == E_FORK:
        raise RuntimeError(_SPAWN)
    text = "minfc: " + error.message.decode(errors="replace")
    raise ValueError(text) if error.code in (E_ARGUMENT, E_PATTERN) else RuntimeError(text)


def in_parent() -> None:
    """Raises RuntimeError in a forked child, before a lock is taken that a thread of the parent may have held."""
    if forked:
        raise RuntimeError(_SPAWN)


def check(function: Any, *arguments: Any) -> None:
    """Calls a function of the library. Raises ValueError or RuntimeError with its text."""
    error = Error()
    if function(*arguments, byref(error)):
        fail(error)


def text(function: Any, *arguments: Any) -> str:
    """The JSON that a function of the library writes."""
    length, room = c_size_t(), 4096
    while True:
        to = ctypes.create_string_buffer(room)
        check(function, *arguments, to, room, byref(length))
        if length.value < room:
            return to.value.decode()
        room = length.value + 1
