"""Reading what others may have written: regular files, of bounded size, as typed values.

Everything behind this gate can trust its types. What does not fit is one line that names the file
and, where there is one, the field.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from macnn.errors import MacnnError
from macnn.text import shown

T = TypeVar("T")

JSON_BYTES = 16 * 2**20
JSON_VALUES = 200_000  # of a document; each takes a thousand bytes when it does not fit
LIST_BYTES = 512 * 2**20  # of a list of images


class Document(BaseModel):
    """A JSON object of a known form: strict types, finite numbers; further keys are ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def read_bytes(
    file: Path, error: type[MacnnError], *, limit: int = JSON_BYTES, hint: str | None = None
) -> bytes:
    """Read a file whole.

    Args:
        file: to read; links are followed.
        error: the kind of error to raise.
        limit: bytes it may have; nothing is read of a larger one.
        hint: the remedy to name.

    Raises:
        MacnnError: of kind `error`: it is missing, unreadable, too large, or no regular file
            (a pipe would never end, and a device may not).
    """
    with _opened(file, error, hint) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise error(f"{shown(file)}: {size:,} bytes, more than {limit:,}", hint=hint)
        return stream.read(size)


def read_text(
    file: Path, error: type[MacnnError], *, limit: int = JSON_BYTES, hint: str | None = None
) -> str:
    """Read a file of UTF-8; otherwise as `read_bytes`."""
    content = read_bytes(file, error, limit=limit, hint=hint)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{shown(file)}: not UTF-8 at byte {problem.start:,}", hint=hint) from None


def read_json(
    file: Path,
    form: type[T],
    error: type[MacnnError],
    *,
    limit: int = JSON_BYTES,
    hint: str | None = None,
) -> T:
    """Read JSON as a value of the type `form`, strictly; otherwise as `read_bytes`."""
    return parse_json(read_bytes(file, error, limit=limit, hint=hint), file, form, error, hint=hint)


def parse_json(
    content: bytes,
    file: Path,
    form: type[T],
    error: type[MacnnError],
    *,
    values: int = JSON_VALUES,
    hint: str | None = None,
) -> T:
    """The value of the type `form` that `content`, read from `file`, stands for.

    Raises:
        MacnnError: of kind `error`: it is no JSON, not of this form, or holds too many values.
    """
    if content.count(b",") > values:
        raise error(f"{shown(file)}: more than {values:,} values", hint=hint)
    try:
        parsed: T = TypeAdapter(form).validate_json(content, strict=True)
    except ValidationError as problem:
        raise error(f"{shown(file)}: damaged ({misfit(problem)})", hint=hint) from None
    return parsed


def sha256(file: Path, error: type[MacnnError], *, hint: str | None = None) -> str:
    """SHA-256 of a regular file, in hexadecimal; otherwise as `read_bytes`."""
    with _opened(file, error, hint) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _opened(file: Path, error: type[MacnnError], hint: str | None) -> Iterator[BufferedReader]:
    """A regular file to read; whatever goes wrong meanwhile is an `error`."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise error(f"{shown(file)}: not a regular file", hint=hint)
            yield stream
    except (OSError, ValueError) as problem:  # ValueError: a NUL in its name
        raise error(f"{shown(file)}: {why(problem)}", hint=hint) from None


def why(problem: BaseException) -> str:
    """The reason of an error in one line, without the path, which the caller names."""
    if isinstance(problem, FileNotFoundError):
        return "no such file"
    said = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return shown(said or type(problem).__name__, 200)


def misfit(problem: ValidationError) -> str:
    """The first thing that does not fit a form, in one line."""
    first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    said = shown(first["msg"], 200)
    return f"{shown(place, 100)}: {said}" if place else said
