import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from macnn.errors import CheckpointError, DataError
from macnn.reading import Document, read_bytes, read_json, read_text, sha256
from macnn.tensors import read_tensors


class Form(Document):
    count: int
    share: float = 0.5


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file"


def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path, file):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero", "."):
        for read in (read_bytes, sha256):
            with pytest.raises(DataError, match=r"not a regular file|directory"):
                read(tmp_path / name, DataError)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(file):
    with file.open("wb") as stream:
        stream.truncate(2**41)  # sparse
    with pytest.raises(DataError, match=r"2,199,023,255,552 bytes, more than 1,000"):
        read_bytes(file, DataError, limit=1000)


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "loop", "file/below", "x" * 5000])
def test_what_cannot_be_opened_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError) as raised:
        read_bytes(Path(tmp_path, name), DataError, hint="try another")
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).endswith("; try another")


def test_text_that_is_not_utf8_names_the_byte(file):
    file.write_bytes(b"ab\xff")
    with pytest.raises(DataError, match="not UTF-8 at byte 2"):
        read_text(file, DataError)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b'{"count": "1"}', b'{"count": true}', b'{"count": 1.5}',
        b'{"count": 1, "share": NaN}', b'{"count": 1, "share": 1e999}', b"\xff", b"{\x00}",
        b'{"count": ' + b"9" * 5000 + b"}", b"[" * 100_000, b'{"count": 1} trailing',
    ],
)  # fmt: skip
def test_json_of_another_form_is_one_line(file, content):
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"file: damaged \(.*\)$") as raised:
        read_json(file, Form, CheckpointError)
    assert len(str(raised.value)) < 500


def test_json_of_too_many_values_is_refused_before_it_is_parsed(file):
    file.write_bytes(b"[" + b"0," * 200_001 + b"0]")
    with pytest.raises(CheckpointError, match="more than 200,000 values"):
        read_json(file, Form, CheckpointError)


def test_json_is_read_as_its_form(file):
    @dataclass(frozen=True)
    class Point:
        x: int

    file.write_bytes(b'{"count": 2, "further": []}')
    assert read_json(file, Form, CheckpointError) == Form(count=2)
    file.write_bytes(b'{"x": 3}')
    assert read_json(file, Point, CheckpointError) == Point(3)


def test_tensors_are_those_that_were_hashed(file):
    file.write_bytes(save({"a": torch.arange(3)}))
    digest = sha256(file, CheckpointError)
    assert read_tensors(file, CheckpointError, sha256=digest)["a"].tolist() == [0, 1, 2]
    file.write_bytes(save({"a": torch.arange(1, 4)}))
    with pytest.raises(CheckpointError, match="SHA-256"):
        read_tensors(file, CheckpointError, sha256=digest)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, save({"a": torch.ones(2)})[:-1]])
def test_damaged_tensors_are_one_line(file, content):
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"file: damaged \(.*\)$"):
        read_tensors(file, CheckpointError)
