"""Creating, replacing, shortening and deleting files: nothing else in macnn does so.

New files are made under names that nobody can guess, never through a link, and renamed when they
are whole. What is deleted has such a name, or is listed by whoever made it. CONTRIBUTING.md lists
every line that deletes or replaces, and why it may; a test holds the list.
"""

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PREFIX = ".macnn-"
_TEMPORARY = re.compile(rf"{re.escape(_PREFIX)}(?P<owner>[0-9a-f]{{32}})-[0-9a-f]{{32}}")


def new_id() -> str:
    """An identifier that nobody can guess, 32 hexadecimal digits."""
    return secrets.token_hex(16)


def write_text(file: Path, text: str, *, owner: str = "") -> None:
    """Write a text file in UTF-8; otherwise as `write_bytes`."""
    write_bytes(file, text.encode(), owner=owner)


def write_json(file: Path, content: Any, *, owner: str = "") -> None:
    """Write indented JSON; a value that is not finite is a ValueError. Else as `write_bytes`."""
    write_text(file, json.dumps(content, indent=2, allow_nan=False) + "\n", owner=owner)


def write_bytes(file: Path, content: bytes, *, owner: str = "") -> None:
    """Write a file, synced to disk: a reader sees the old content or the new, never half of it.

    Args:
        file: to write; a file of this name is replaced.
        content: what it will hold.
        owner: identifier of the run it belongs to, for `clear_leftovers`.

    Raises:
        OSError: it cannot be written, or is a link.
    """
    refuse_link(file)
    temporary = temporary_path(file.parent, owner)
    try:
        with os.fdopen(_create(temporary), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def append_text(file: Path, text: str) -> None:
    """Append to a file, which is made if missing.

    Raises:
        OSError: it cannot be written, or is a link of either kind.
    """
    with os.fdopen(_open_own(file, os.O_APPEND | os.O_CREAT), "a", encoding="utf-8") as stream:
        stream.write(text)


def cut(file: Path, length: int) -> None:
    """Cut a file back to `length` bytes, if it is longer.

    Raises:
        OSError: it cannot be written, or is a link of either kind.
    """
    with os.fdopen(_open_own(file, 0), "r+b") as stream:
        if os.fstat(stream.fileno()).st_size > length:
            stream.truncate(length)


@contextmanager
def whole_folder(final: Path, *, owner: str = "", replaced: Sequence[str] = ()) -> Iterator[Path]:
    """A folder to fill that gets its name when it is whole, or else disappears.

    What lies right in it is synced to disk.

    Args:
        final: its name; an empty folder of that name is replaced.
        owner: identifier of the run it belongs to, for `clear_leftovers`.
        replaced: files of a folder of that name, which are deleted when the new one is whole.

    Raises:
        OSError: it cannot be written, or `final` is a link or holds other files.
    """
    refuse_link(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(final.parent, owner)
    temporary.mkdir()
    try:
        yield temporary
        for entry in (*temporary.iterdir(), temporary):
            sync(entry)
        _put(temporary, final, replaced)
        sync(final.parent)
    finally:
        discard_tree(temporary)


def temporary_path(folder: Path, owner: str = "") -> Path:
    """A name in a folder that nobody can guess, and that tells the run it belongs to."""
    return folder / f"{_PREFIX}{owner or new_id()}-{new_id()}"


def temporaries(folder: Path, owner: str | None = None) -> list[Path]:
    """What lies in a folder under a `temporary_path`, of this owner if given; nothing in a link."""
    found = list(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    named = [(entry, _TEMPORARY.fullmatch(entry.name)) for entry in found]
    return [entry for entry, match in named if match and owner in (None, match["owner"])]


def discard_tree(folder: Path) -> None:
    """Delete a folder with a `temporary_path`, if it is there, and all in it; links as links."""
    if not _TEMPORARY.fullmatch(folder.name):
        raise ValueError(f"{folder}: not a temporary folder")
    shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(folder: Path, owner: str | None = None) -> None:
    """Delete `temporaries`: what a killed process was writing."""
    for entry in temporaries(folder, owner):
        if entry.is_dir() and not entry.is_symlink():
            discard_tree(entry)
        else:
            entry.unlink(missing_ok=True)


def discard_files(folder: Path, names: Iterable[str]) -> None:
    """Delete the files of these names in a folder, and the folder if it is then empty.

    Links are deleted as links; folders, and files of other names, stay.
    """
    for name in names:
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    with suppress(OSError):  # not empty: something of the user's is in it
        folder.rmdir()


def move_files(names: Iterable[str], source: Path, target: Path) -> None:
    """Move files to a folder, by their paths below `source`; folders left empty are deleted.

    Raises:
        OSError: one cannot be moved, or lies in a folder that is a link.
    """
    emptied: dict[Path, None] = {}
    for name in names:
        file = source / name
        if file.parent.is_symlink():
            raise OSError(errno.ELOOP, "is a link", str(file.parent))
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        file.rename(target / name)
        emptied[file.parent] = None
    for folder in sorted(emptied, key=lambda folder: -len(folder.parts)):
        while folder != source:
            try:
                folder.rmdir()
            except OSError:
                break
            folder = folder.parent


def _put(temporary: Path, final: Path, replaced: Sequence[str]) -> None:
    """Give a folder its name; what it replaces is deleted afterwards, or put back."""
    aside = temporary_path(final.parent)
    move_files(replaced, final, aside)
    try:
        temporary.rename(final)
    except OSError:
        move_files(replaced, aside, final)
        discard_files(aside, ())
        raise
    discard_tree(aside)


def refuse_link(file: Path) -> None:
    """Check that a file or folder to write is no symbolic link, which others may have made.

    Raises:
        OSError: it is one.
    """
    if file.is_symlink():
        raise OSError(errno.ELOOP, "is a link; delete it, or put the file itself there", str(file))


def sync(path: Path) -> None:
    """Have the system write a file or folder to disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(file: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(file, flags, 0o666)


def _open_own(file: Path, flags: int) -> int:
    """Open a file that only this run writes: no symbolic link, and without hard links."""
    refuse_link(file)
    descriptor = os.open(
        file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o666
    )
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "has several names, or is no file; delete it", str(file))
    return descriptor
