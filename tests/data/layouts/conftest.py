"""Small faithful copies of published data sets, and what it looks like when one is refused."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat


@pytest.fixture
def write_images():
    """Write small photographs, each of its own colour."""

    def write(folder, names):
        for number, name in enumerate(names):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 36), (37 * number % 256, 99, 11 * number % 256)).save(file)

    return write


@pytest.fixture
def write_structs():
    """Write a MATLAB file with a struct array, as the devkits have them."""

    def write(file, variable, fields, rows, **more):
        records = np.array([tuple(row) for row in rows], dtype=[(f, object) for f in fields])
        file.parent.mkdir(parents=True, exist_ok=True)
        savemat(file, {variable: records.reshape(1, -1), **more})

    return write


@pytest.fixture
def refused(macnn, tmp_path_factory):
    """Check that a data set is refused with exit code 3 and one line that holds these words."""

    def check(root, *words, dataset="auto"):
        output = tmp_path_factory.mktemp("refused") / "cache"
        code, out, err = macnn(
            "data", "cache", "--data", root, "--dataset", dataset, "--output", output, "-q"
        )
        assert (code, out, err.count("\n")) == (3, "", 1), err
        assert all(word in err for word in ("macnn: ", *words)), err
        assert not output.exists()
        code, out, err = macnn("data", "check", root, "--dataset", dataset, "-q")
        assert code == 3
        assert all(word in out + err for word in words), out + err

    return check
