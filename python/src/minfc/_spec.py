"""Specs: the JSON text that says what heads compute, as the C library reads it."""

from __future__ import annotations

import json
import operator
from typing import Any, Callable, Mapping, Union

import torch

from ._plan import Layer

Pattern = Union[str, Layer]


def spec_of(pattern: Pattern, params: Mapping[str, int] | None = None) -> str:
    """The spec of a pattern with parameters.

    pattern is a name of the library, a source text in the language, a spec (JSON), or a layer of a plan; the last two have their
    parameters inside. Names are not looked up here: the library knows them. Raises ValueError or TypeError.
    """
    if isinstance(pattern, Layer) and not params:  # here, since torch.compile takes no object into a constant
        return pattern.spec
    return _constant(pattern, tuple(params.items()) if params else ())


def _known_spec(pattern: Pattern, params: tuple[tuple[str, int], ...]) -> str:
    try:
        known = _specs.get((pattern, params))
    except TypeError as e:  # a tensor hashes, a list does not
        raise _wrong_type(pattern, params) from e
    if known is None:
        known = _make(pattern, params)
        if len(_specs) >= _MOST:
            _specs.clear()
        _specs[pattern, params] = known
    return known


# A graph takes the text in: nothing of this file is traced, and a graph does not depend on what else is remembered.
_constant: Callable[[Pattern, tuple[tuple[str, int], ...]], str] = torch.compiler.assume_constant_result(_known_spec)

_MOST = 1024  # specs remembered, by what they were made from
_specs: dict[Any, str] = {}


def _make(pattern: Pattern, params: tuple[tuple[str, int], ...]) -> str:
    if isinstance(pattern, Layer):
        raise ValueError(f"a layer of a plan has the parameters of its heads, so it goes without {_names(params)}")
    if not isinstance(pattern, str):
        raise _wrong_type(pattern, params)
    if pattern.lstrip().startswith("{"):
        if params:
            raise ValueError(f"a spec has its parameters inside, so it goes without {_names(params)}")
        return pattern
    key = "source" if "{" in pattern else "pattern"
    return json.dumps({key: pattern, "params": {name: _whole(name, value) for name, value in sorted(params)}})


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"parameter {name} is {value}, want a whole number")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"parameter {name} is {value!r}, want a whole number") from None


def _names(params: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(name for name, _ in params)


def _wrong_type(pattern: Any, params: tuple[tuple[str, Any], ...]) -> TypeError:
    if isinstance(pattern, (str, Layer)):
        for name, value in params:
            _whole(name, value)
    return TypeError(
        f"pattern is {type(pattern).__name__}, want the name of a pattern, a source text, a spec (JSON), or a minfc.Layer, "
        "which Plan.layer gives"
    )
