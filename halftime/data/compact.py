"""Long lists of texts and numbers as a few arrays.

Reading an element of a Python list writes to it: its count of references changes. Processes that were forked share
memory only as long as nobody writes, so each of them ends up with a copy of every long list of a data set. Arrays have
one count for all their elements.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

LONG = 10_000  # shorter lists are left alone
KINDS = {int: np.int64, float: np.float64, bool: np.bool_}


class Compact(Sequence[Any]):
    """A list whose elements are made when they are read. Equal to the list by element; a change is kept beside.

    Example:
        >>> rows = compact([("a.png", 3), ("b.png", 5)], long=2)
        >>> type(rows).__name__, rows[1], rows[-2:], len(rows)
        ('_Rows', ('b.png', 5), [('a.png', 3), ('b.png', 5)], 2)
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed: dict[int, Any] = {}

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        at = range(self._count)[index]
        return self._changed[at] if at in self._changed else self._read(at)

    def __setitem__(self, index: int, value: Any) -> None:
        self._changed[range(self._count)[index]] = value

    def _read(self, index: int) -> Any:
        raise NotImplementedError


class _Numbers(Compact):
    def __init__(self, values: list[Any], kind: type) -> None:
        super().__init__(len(values))
        self._values: Any = np.array(values, dtype=KINDS[kind])

    def _read(self, index: int) -> Any:
        return self._values[index].item()


class _Texts(Compact):
    def __init__(self, values: list[Any], kind: type) -> None:
        super().__init__(len(values))
        self._text = kind is str
        joined = ("" if self._text else b"").join(values)
        if self._text and not joined.isascii():  # a character is more than a byte
            values = [v.encode("utf-8", "surrogatepass") for v in values]
            joined = b"".join(values)
        self._ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)))
        self._all = np.frombuffer(joined.encode() if isinstance(joined, str) else joined, np.uint8)

    def _read(self, index: int) -> Any:
        begin = self._ends[index - 1] if index else 0
        part = self._all[begin : self._ends[index]].tobytes()
        return part.decode("utf-8", "surrogatepass") if self._text else part


class _Rows(Compact):
    def __init__(self, columns: list[Compact]) -> None:
        super().__init__(len(columns[0]))
        self._columns = columns

    def _read(self, index: int) -> Any:
        return tuple(column[index] for column in self._columns)


def compact(values: Any, long: int = LONG) -> Any:
    """A long list of numbers, texts, bytes or tuples of these as arrays; anything else as it is.

    Args:
        values: anything.
        long: the shortest list that is changed.
    """
    if type(values) not in (list, tuple) or len(values) < long:
        return values
    kinds = set(map(type, values))
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind in KINDS:
        with contextlib.suppress(OverflowError):  # a number of more than 64 bits
            return _Numbers(values, kind)
    if kind in (str, bytes):
        return _Texts(values, kind)
    if kind is tuple and len(set(map(len, values))) == 1 and len(values[0]):
        columns = [compact([row[i] for row in values], long) for i in range(len(values[0]))]
        if all(isinstance(column, Compact) for column in columns):
            return _Rows(columns)
    return values


def compacted(dataset: Any, depth: int = 4) -> Any:
    """A data set whose long lists are compact, those of a data set inside it too; the given one stays as it is."""
    changed = {}
    for name, value in getattr(dataset, "__dict__", {}).items():
        inner = hasattr(value, "__getitem__") and hasattr(value, "__dict__") and not isinstance(value, type)
        now = compacted(value, depth - 1) if inner and depth else compact(value)
        if now is not value:
            changed[name] = now
    if not changed:
        return compact(dataset)
    with contextlib.suppress(Exception):  # one that cannot be copied is served as it is
        copied = copy.copy(dataset)
        vars(copied).update(changed)
        return copied
    return dataset
