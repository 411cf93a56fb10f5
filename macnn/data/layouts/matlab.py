"""Reading MATLAB files of versions 5 to 7: texts and numbers, also in cells and structs.

Every size that such a file names is checked against the bytes that are there before anything is
made of it, and every value on its way out; SciPy's reader inflates whatever it is given, and gives
objects of any kind. Format: "MAT-File Format", MathWorks, level 5.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Union

import numpy as np

from macnn.data.layouts.limits import COORDINATE, ROWS
from macnn.errors import DataError
from macnn.reading import read_bytes, why
from macnn.text import shown

T = TypeVar("T", str, int, float)

FILE_BYTES = 2**26
INFLATED_BYTES = 2**25  # of all variables together
_DEEPEST = 8  # cells in cells
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17  # classes of matrices
_NUMBERS = range(6, 16)
_COMPLEX = 0x800
_DTYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_WORDS = {str: "text", int: "whole numbers", float: "numbers of pixels"}

Value: TypeAlias = Union["np.ndarray[Any, Any]", str, list["Value"], dict[str, list["Value"]]]
"""Numbers and cells column by column; a struct array as one list per field."""


class MatFile:
    """The variables of a MATLAB file."""

    def __init__(self, file: Path) -> None:
        """Read the file.

        Raises:
            DataError: it is no MATLAB file of versions 5 to 7, is damaged, or too large.
        """
        self._name = shown(file)
        self._left = INFLATED_BYTES
        self._parsed: dict[str, Value] = {}
        content = read_bytes(file, DataError, limit=FILE_BYTES)
        with self._readable():
            self._order = _byte_order(content)
            self._variables = dict(self._named(memoryview(content)[128:]))

    def values(self, variable: str, kind: type[T]) -> list[T]:
        """A variable as texts, whole numbers or numbers of pixels.

        Raises:
            DataError: it is missing, or is something else.
        """
        value = self._value(variable)
        items = [value] if isinstance(value, str | dict) else value
        return self._typed(variable, items, kind)

    def fields(self, variable: str) -> frozenset[str]:
        """Names of the fields of a struct array; none if it is something else.

        Raises:
            DataError: it is missing or damaged.
        """
        value = self._value(variable)
        return frozenset(value) if isinstance(value, dict) else frozenset()

    def columns(self, variable: str, kinds: Mapping[str, type[Any]]) -> dict[str, list[Any]]:
        """Fields of a struct array, each as `values` gives a variable, all of one length.

        Raises:
            DataError: one is missing, or is something else.
        """
        value = self._value(variable)
        columns = value if isinstance(value, dict) else {}
        for field in kinds:
            if field not in columns:
                raise DataError(f"{self._name}: its {variable} have no field '{field}'")
        return {
            field: self._typed(f"{variable}.{field}", columns[field], kind)
            for field, kind in kinds.items()
        }

    def _value(self, variable: str) -> Value:
        if variable not in self._variables:
            found = shown(", ".join(self._variables) or "none", 200)
            raise DataError(f"{self._name}: no variable '{variable}', it has {found}")
        if variable not in self._parsed:
            with self._readable():
                self._parsed[variable] = self._matrix(self._variables[variable], 0)
        return self._parsed[variable]

    def _typed(
        self, where: str, items: "Sequence[Value] | np.ndarray[Any, Any]", kind: type[T]
    ) -> list[T]:
        if len(items) > ROWS:
            raise DataError(f"{self._name}: {where} has more than {ROWS:,} values")
        try:
            return [_as(kind, item) for item in items]
        except ValueError as error:
            raise DataError(
                f"{self._name}: {where} holds {error}, expected {_WORDS[kind]}"
            ) from None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, zlib.error) as error:
            raise DataError(f"{self._name}: not a readable MATLAB file ({why(error)})") from None

    def _named(self, data: memoryview) -> Iterator[tuple[str, memoryview]]:
        """Names and matrices of the variables."""
        for kind, content in self._elements(data):
            for inner, matrix in (
                self._elements(self._inflated(content))
                if kind == _COMPRESSED
                else [(kind, content)]
            ):
                parts = self._elements(matrix)
                if inner == _MATRIX and self._class(_next(parts))[0] != _OPAQUE:
                    _next(parts)  # its dimensions
                    yield bytes(_next(parts)[1]).decode("latin-1"), matrix

    def _inflated(self, content: memoryview) -> memoryview:
        found = zlib.decompressobj().decompress(content, self._left + 1)
        self._left -= len(found)
        if self._left < 0:
            raise ValueError(f"more than {INFLATED_BYTES:,} bytes when inflated")
        return memoryview(found)

    def _elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Types and contents of the elements that stand one after the other."""
        at = 0
        while at + 8 <= len(data):
            kind, size = struct.unpack_from(f"{self._order}II", data, at)
            start = at + 8
            if kind >> 16:  # four bytes or less, within the tag
                kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            end = start + size
            if end > (at + 8 if start < at + 8 else len(data)):
                raise ValueError("cut off")
            yield kind, data[start:end]
            at = end if kind == _COMPRESSED else end + (at - end) % 8

    def _class(self, element: tuple[int, memoryview]) -> tuple[int, bool]:
        """Class of a matrix, and whether it is complex."""
        if len(element[1]) != 8:
            raise ValueError("no array flags")
        (flags,) = struct.unpack_from(f"{self._order}I", element[1])
        return flags & 0xFF, bool(flags & _COMPLEX)

    def _matrix(self, data: memoryview, depth: int) -> Value:
        if depth > _DEEPEST:
            raise ValueError("cells in cells without end")
        if not data:  # a cell that was never filled
            return []
        parts = self._elements(data)
        kind, is_complex = self._class(_next(parts))
        if is_complex or kind not in (_CELL, _STRUCT, _CHAR, *_NUMBERS):
            raise ValueError("sparse, complex, or of a class of its own")
        dimensions = self._numbers(_next(parts)).tolist()
        count = math.prod(dimensions)
        if not dimensions or min(dimensions) < 0:
            raise ValueError("no dimensions")
        _next(parts)  # its name
        if kind in (_CELL, _STRUCT) and count > ROWS:
            raise ValueError(f"more than {ROWS:,} values")
        if kind == _CELL:
            return [self._inner(parts, depth) for _ in range(count)]
        if kind == _STRUCT:
            return self._struct(parts, count, depth)
        if kind == _CHAR:
            return _text(self._text(_next(parts)) if count else "", dimensions[0])
        numbers = self._numbers(_next(parts))
        if len(numbers) != count:
            raise ValueError(f"{len(numbers)} numbers where it says {count}")
        return numbers

    def _struct(
        self, parts: Iterator[tuple[int, memoryview]], count: int, depth: int
    ) -> dict[str, list[Value]]:
        (length,) = self._numbers(_next(parts)).tolist()
        joined = bytes(_next(parts)[1])
        if length < 1:
            raise ValueError("fields without names")
        found = [joined[at : at + length] for at in range(0, len(joined), length)]
        names = [name.partition(b"\0")[0].decode("latin-1") for name in found]
        columns: dict[str, list[Value]] = {name: [] for name in names}
        if len(columns) != len(names) or (count and not names):
            raise ValueError("fields of one name, or of none")
        for _ in range(count):
            for name in names:
                columns[name].append(self._inner(parts, depth))
        return columns

    def _inner(self, parts: Iterator[tuple[int, memoryview]], depth: int) -> Value:
        kind, data = _next(parts)
        if kind != _MATRIX:
            raise ValueError("a cell that is no matrix")
        return self._matrix(data, depth + 1)

    def _numbers(self, element: tuple[int, memoryview]) -> "np.ndarray[Any, Any]":
        kind, data = element
        if kind not in _DTYPES:
            raise ValueError(f"numbers of type {kind}")
        return np.frombuffer(data, self._order + _DTYPES[kind])

    def _text(self, element: tuple[int, memoryview]) -> str:
        kind, data = element
        if kind not in _ENCODINGS:
            raise ValueError(f"text of type {kind}")
        encoding = _ENCODINGS[kind]
        if kind in (4, 17, 18):
            encoding += "-le" if self._order == "<" else "-be"
        return bytes(data).decode(encoding)


def _byte_order(content: bytes) -> str:
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[124:128] in (b"\x00\x02IM", b"\x02\x00MI"):
        raise ValueError("version 7.3; save it with -v7")
    order = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}.get(content[124:128])
    if order is None:
        raise ValueError("not of versions 5 to 7")
    return order


def _next(parts: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    found = next(parts, None)
    if found is None:
        raise ValueError("cut off")
    return found


def _text(text: str, rows: int) -> Value:
    """One text, or those in the rows of a matrix, which are padded to one length."""
    return text if rows <= 1 else [text[row::rows].rstrip() for row in range(min(rows, len(text)))]


def _as(kind: type[T], value: Any) -> T:
    """One text or number; raises a ValueError that says what it is instead."""
    for _ in range(_DEEPEST):  # MATLAB wraps single values in cells
        if isinstance(value, list | np.ndarray) and len(value) == 1:
            value = value[0]
    if isinstance(value, str):
        if kind is str:
            return kind(value)
        raise ValueError(f"the text '{shown(value, 40)}'")
    if not isinstance(value, np.generic):
        raise ValueError("several values in one" if len(value) else "an empty value")
    number = float(value)
    if kind is str or not math.isfinite(number) or (kind is float and abs(number) > COORDINATE):
        raise ValueError(f"the number {number:g}")
    if kind is int and (not number.is_integer() or abs(number) >= 2**53):
        raise ValueError(f"the number {number:g}")
    return kind(number)
