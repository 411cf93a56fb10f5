import os
import struct
import zlib

import numpy as np
import pytest
import scipy.sparse
from scipy.io import savemat

from macnn.data.layouts import matlab
from macnn.data.layouts.matlab import MatFile
from macnn.errors import DataError

HEADER = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.mat"


@pytest.mark.parametrize("compressed", [False, True])
def test_texts_and_numbers_come_back_as_they_were_saved(file, compressed):
    cells = np.array([["a b", "größe", ""]], dtype=object)
    content = {
        "cells": cells,
        "texts": np.array(["wren", "jay"]),
        "text": "robin",
        "bytes": np.array([[1, 2, 255]], dtype=np.uint8),
        "floats": np.array([[1.0], [2.0]]),
        "halves": np.array([0.5, -2.25], dtype=np.float32),
        "flag": np.array([True, False]),
        "nothing": np.zeros((0, 0)),
        "unread": scipy.sparse.csc_matrix(np.eye(2)),
    }
    savemat(file, content, do_compression=compressed)
    found = MatFile(file)
    assert found.values("cells", str) == ["a b", "größe", ""]
    assert found.values("texts", str) == ["wren", "jay"]
    assert found.values("text", str) == ["robin"]
    assert found.values("bytes", int) == [1, 2, 255]
    assert found.values("floats", int) == [1, 2]
    assert found.values("halves", float) == [0.5, -2.25]
    assert found.values("flag", int) == [1, 0]
    assert found.values("nothing", int) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, "holds the number nan, expected whole numbers"),
        (np.array([1, np.inf]), "holds the number inf"),
        (np.array([1.5]), "holds the number 1.5"),
        (np.array([2.0**60]), "holds the number 1.15292e"),
        ("\x1b[31m", r"holds the text '\\x1b\[31m', expected whole numbers"),
        (np.array([1 + 2j]), "sparse, complex, or of a class of its own"),
        (scipy.sparse.csc_matrix(np.eye(3)), "sparse, complex, or of a class of its own"),
        ({"a": 1}, "holds several values in one"),
        (np.array([[np.array([1, 2]), 3.0]], dtype=object), "holds several values in one"),
        (np.array([[np.array([]), 3.0]], dtype=object), "holds an empty value"),
    ],
)
def test_what_is_not_of_the_type_that_is_needed_is_refused(file, value, words):
    savemat(file, {"labels": value})
    with pytest.raises(DataError, match=rf"a\.mat: .*{words}"):
        MatFile(file).values("labels", int)


def test_text_must_be_text_and_pixels_near_a_picture(file):
    savemat(file, {"names": np.array([1, 2]), "box": np.array([1e300])})
    with pytest.raises(DataError, match="names holds the number 1, expected text"):
        MatFile(file).values("names", str)
    with pytest.raises(DataError, match=r"box holds the number 1e\+300, expected numbers of pixel"):
        MatFile(file).values("box", float)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind, dimensions, *rest):
    dims = struct.pack(f"<{len(dimensions)}i", *dimensions)
    flags = element(6, struct.pack("<II", kind, 0))
    return element(14, flags + element(5, dims) + element(1, b"labels") + b"".join(rest))


def nested(depth):
    return matrix(1, [1, 1], nested(depth - 1)) if depth else matrix(9, [1, 1], element(2, b"\1"))


MOST = 2**31 - 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (matrix(9, [MOST, MOST], element(9, bytes(8))), "1 numbers where it says"),
        (matrix(9, [-1, -1], element(9, bytes(8))), "no dimensions"),
        (matrix(9, [1, 1], element(99, bytes(8))), "numbers of type 99"),
        (matrix(9, [1, 1]), "cut off"),
        (matrix(9, [1, 1], element(9, bytes(8)))[:-4], "cut off"),
        (matrix(1, [MOST, MOST]), "more than 1,000,000 values"),
        (matrix(1, [1, 1], element(9, bytes(8))), "a cell that is no matrix"),
        (nested(30), "cells in cells without end"),
        (matrix(2, [MOST, 1], element(5, struct.pack("<i", 1)), element(1, b"")), "more than 1,0"),
        (matrix(2, [9, 9], element(5, struct.pack("<i", 1)), element(1, b"")), "fields of one"),
        (matrix(2, [9, 9], element(5, struct.pack("<i", 1)), element(1, b"aa")), "fields of one"),
        (matrix(2, [9, 9], element(5, struct.pack("<i", -1)), element(1, b"a")), "without names"),
        (matrix(4, [1, 1], element(17, b"\0\xd8")), "utf-16-le"),
        (matrix(17, [1, 1]), "no variable 'labels', it has none"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_sizes_are_checked_against_the_bytes_that_are_there(file, content, words):
    file.write_bytes(HEADER + content)
    with pytest.raises(DataError, match=words):
        MatFile(file).values("labels", int)


def test_what_inflates_without_end_is_refused(file, monkeypatch):
    monkeypatch.setattr(matlab, "INFLATED_BYTES", 10_000)
    packed = zlib.compress(bytes(100_000))
    file.write_bytes(HEADER + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DataError, match="more than 10,000 bytes when inflated"):
        MatFile(file)


def test_other_versions_are_named(file):
    savemat(file, {"labels": [1]}, format="4")
    with pytest.raises(DataError, match="not of versions 5 to 7"):
        MatFile(file)
    file.write_bytes(b"MATLAB 7.3".ljust(124) + b"\x00\x02IM\x89HDF")
    with pytest.raises(DataError, match=r"version 7\.3; save it with -v7"):
        MatFile(file)


def test_a_pipe_is_not_waited_for(file):
    os.mkfifo(file)
    with pytest.raises(DataError, match="not a regular file"):
        MatFile(file)
