"""Settings: the fields of methods and recipes, their types and their ranges."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from halftime.errors import BadValue, shorten


class Options(dict[str, Any]):
    """Names and plain values, for a field that hands them on; it cannot be changed and has a hash.

    Example:
        >>> Options(betas=[0.9, 0.99])
        {'betas': (0.9, 0.99)}
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__({name: _plain(value) for name, value in dict(*given, **named).items()})

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted((name, repr(value)) for name, value in self.items())))

    def __reduce__(self) -> Any:
        return Options, (dict(self),)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise AttributeError("options cannot be changed: make others")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _refuse


def _plain(value: Any) -> Any:
    """The value, lists made into tuples as all fields have them."""
    return tuple(_plain(v) for v in value) if isinstance(value, (list, tuple)) else value


def setting(
    default: Any,
    *,
    above: float = -math.inf,
    low: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
    among: tuple[Any, ...] = (),
) -> Any:
    """A field of a method with its range: `above` and `below` are exclusive, `low` and `high` inclusive."""
    limits = {"above": above, "low": low, "high": high, "below": below, "among": among}
    return dataclasses.field(default=default, metadata=limits)


def checked(where: str, value: Any, kind: Any, limits: Mapping[str, Any]) -> Any:
    """`value` as `kind`, or a `BadValue` that names the value, the allowed range and the place."""
    if kind is Any:
        return value
    options = typing.get_args(kind)
    if isinstance(kind, types.UnionType) and type(None) in options:
        if value is None:
            return None
        kind = next(o for o in options if o is not type(None))
    if kind is Options:
        return _options(where, value)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)):
            raise BadValue(f"{where} must be a list of numbers, not {shorten(value)}")
        inner = typing.get_args(kind)[0]
        return tuple(checked(f"{where}[{i}]", v, inner, limits) for i, v in enumerate(value))
    name = {float: "a number", int: "a whole number", bool: "True or False", str: "a text"}[kind]
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise BadValue(f"{where} must be {name}, not {shorten(value)}")
    if limits.get("among") and value not in limits["among"]:
        raise BadValue(f"{where} must be one of {', '.join(map(repr, limits['among']))}, not {shorten(value)}")
    return value if kind in (bool, str) else _number(where, value, kind, limits)


def _options(where: str, value: Any) -> Options:
    """Names and values that JSON can hold; a number must be finite."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise BadValue(f'{where} must be names and values such as {{"momentum": 0.9}}, not {shorten(value)}')
    for name, given in value.items():
        for one in given if isinstance(given, (list, tuple)) else (given,):
            number = isinstance(one, (int, float)) and math.isfinite(one)
            if not (number or one is None or isinstance(one, str)):
                raise BadValue(
                    f"{where}[{name!r}] must be a finite number, a text, True, False, None or a list of them, "
                    f"not {shorten(given)}"
                )
    return Options(value)


def _number(where: str, value: float, kind: type, limits: Mapping[str, Any]) -> float:
    above, low = limits.get("above", -math.inf), limits.get("low", -math.inf)
    below, high = limits.get("below", math.inf), limits.get("high", math.inf)
    try:
        inside = above < value < below and low <= value <= high and math.isfinite(value)
        converted = kind(value)
    except OverflowError:
        inside, converted = False, 0
    if not inside:
        words = [
            f"{word} {limit:g}"
            for word, limit in (("above", above), ("at least", low), ("below", below), ("at most", high))
            if math.isfinite(limit)
        ]
        raise BadValue(f"{where} must be {' and '.join(words) or 'finite'}, not {shorten(value)}")
    return typing.cast(float, converted)
