"""Odd MATLAB files."""

import io
import struct

import numpy as np
from scipy import sparse
from scipy.io import savemat
from wrong.files import flipped


def matlab(draw, values):
    """A MATLAB file of these variables, one of them odd, or the file damaged."""
    name = draw.choice(sorted(values))
    chosen = draw.random()
    what = "damaged"
    given = dict(values)
    if chosen < 0.55:
        odd = _matlab_values()
        what = draw.choice(sorted(odd))
        given[name] = odd[what]
    elif chosen < 0.65:
        del given[name]
        what = "missing"
    stream = io.BytesIO()
    savemat(stream, given, do_compression=draw.random() < 0.5)
    content = stream.getvalue()
    if chosen >= 0.65:
        content = flipped(draw, content, draw.choice((len(content), 200)))
        if draw.random() < 0.2:
            what = draw.choice(("cut off", "empty", "of version 7.3", "of version 4"))
            content = {
                "cut off": content[: draw.randrange(len(content))],
                "empty": b"",
                "of version 7.3": b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\x89HDF\r\n",
                "of version 4": struct.pack("<5i", 0, 2**30, 2**30, 0, 7)
                + b"labels\0"
                + b"\0" * 99,
            }[what]
    return content, f"{name} {what}"


def _matlab_values():
    cell = np.empty((1, 3), object)
    cell[0, :] = ["a", np.zeros((2, 2)), np.empty((0, 0))]
    nested = np.zeros(1)
    for _ in range(50):
        outer = np.empty((1, 1), object)
        outer[0, 0] = nested
        nested = outer
    return {
        "sparse": sparse.csc_matrix(np.eye(3)),
        "complex": np.array([[1 + 2j, 3]]),
        "cells": cell,
        "nested cells": nested,
        "struct": {"class": 1, "fname": "a.jpg"},
        "text": "some text",
        "texts": np.array(["ab", "cd"]),
        "empty": np.empty((0, 0)),
        "not a number": np.array([[np.nan, 1, 2, 1]]),
        "infinite": np.array([[np.inf, 1, 2, 1]]),
        "huge": np.array([[2**62, 1, 2, 1]], np.int64),
        "negative": np.array([[-1, 0, 2, 1]]),
        "fractions": np.array([[1.5, 2.5]]),
        "true": np.array([[True, False]]),
        "of three dimensions": np.zeros((2, 2, 2)),
        "many": np.ones((1, 300_000)),
        "single": np.array([[7]]),
        "a function": np.array([[0]], object),
    }
