"""Writing files whole: a reader sees the old content or the new, never half of it."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def write_text(file: Path, text: str) -> None:
    """Write a text file in UTF-8, synced to disk."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file, synced to disk."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        sync(temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(file: Path, content: Any) -> None:
    """Write indented JSON; a value that is not finite is a ValueError."""
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n")


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have the system write a file or folder to disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
