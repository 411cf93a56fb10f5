import csv
import io
import json
import re
import shutil
import sys

import pytest
from rich.console import Console

USAGE, DATA, CHECKPOINT = 2, 3, 4


@pytest.fixture
def album(birds, tmp_path):
    """100 pictures in folders, three of them bad: text, nothing, half a JPEG."""
    files = sorted(birds.glob("images/*/*"))
    folder = tmp_path / "album"
    for number in range(100):
        picture = folder / f"day{number % 3}" / f"{number:03}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[number % len(files)], picture)
    (folder / "day0" / "003.jpg").write_text("not an image")
    (folder / "day1" / "040.jpg").write_bytes(b"")
    half = folder / "day2" / "098.jpg"
    half.write_bytes(half.read_bytes()[:200])
    return folder


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("workers", [0, 2])
def test_three_bad_pictures_of_100_are_named_and_97_predicted(macnn, trained, album, workers):
    code, out, err = macnn(
        "predict", "--checkpoint", trained("macnn"), album, "--json", "--workers", workers
    )
    assert code == DATA
    found = lines(out)
    assert len(found) == 97
    assert len({row["source"] for row in found}) == 97
    named = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(named) == 3
    for line, name in zip(named, ("003.jpg", "040.jpg", "098.jpg"), strict=True):
        assert f"{name}: does not decode" in line
    assert "97 of 100 predicted in" in err
    assert "pictures per second" in err
    assert err.splitlines()[-1].startswith("macnn: 3 of 100 pictures could not be read")


def test_results_keep_the_order_given_and_say_everything(macnn, trained, birds):
    files = sorted(birds.glob("images/*/*"))[:3][::-1]
    code, out, err = macnn(
        "predict", "--checkpoint", trained("macnn"), *files, "--json", "--top", 2, "-q"
    )
    assert (code, err) == (0, "")
    found = lines(out)
    assert [row["source"] for row in found] == [str(file) for file in files]
    for row in found:
        assert len(row["classes"]) == 2
        assert row["classes"][0]["probability"] >= row["classes"][1]["probability"]
        assert [box["part"] for box in row["parts"]] == [1, 2, 3, 4]
        assert all(0 <= box["x"] <= 64 and box["x"] + box["width"] <= 64 for box in row["parts"])


def test_csv_has_a_column_for_everything(macnn, trained, birds):
    files = sorted(birds.glob("images/*/*"))[:2]
    _, out, _ = macnn("predict", "--checkpoint", trained("macnn"), *files, "--csv", "--top", 2)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["source"] for row in rows] == [str(file) for file in files]
    assert rows[0]["class_1"].startswith("0")
    assert float(rows[0]["probability_1"]) >= float(rows[0]["probability_2"])
    assert 0 < float(rows[0]["part_4_width"]) <= 64


def test_a_table_is_for_people(macnn, trained, birds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(next(birds.glob("images/*/*")), "[red]wing.jpg")  # must not be taken for markup
    code, out, _ = macnn("predict", "--checkpoint", trained("macnn"), "[red]wing.jpg")
    assert code == 0
    assert "[red]wing.jpg" in out
    assert re.search(r"Bird_\d", out)
    assert " %" in out
    assert "4: " in out


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ((), "=[red]1\\x1b[2J\\u202e.jpg"),
        (("--csv",), "\n'=[red]1\\x1b[2J\\u202e.jpg,"),
        (("--json",), '"=[red]1\\u001b[2J\\u202e.jpg"'),
    ],
)
def test_no_name_of_a_picture_acts_on_its_reader(
    macnn, trained, birds, tmp_path, monkeypatch, form, shown
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    name = "=[red]1\x1b[2J\u202e.jpg"
    shutil.copy(next(birds.glob("images/*/*")), name)
    code, out, _ = macnn("predict", "--checkpoint", trained("macnn"), name, *form)
    assert code == 0
    assert shown in out
    assert all(line.isprintable() for line in out.split("\n"))


def test_a_list_comes_from_stdin(macnn, trained, birds, monkeypatch):
    files = sorted(birds.glob("images/*/*"))[:3]
    listed = "".join(f"{file}\n" for file in files[:2]) + "\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    _, out, _ = macnn("predict", "--checkpoint", trained("macnn"), "-", files[2], "--json")
    assert [row["source"] for row in lines(out)] == [str(file) for file in files]


def test_overlays_are_saved_for_every_picture_that_was_read(macnn, trained, birds, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("not an image")
    files = sorted(birds.glob("images/*/*"))[:2]
    code, _, _ = macnn(
        "predict", "--checkpoint", trained("macnn"), files[0], bad, files[1],
        "--save-overlays", tmp_path / "seen",
    )  # fmt: skip
    assert code == DATA
    names = sorted(path.name for path in (tmp_path / "seen").iterdir())
    assert names == [f"0000{n}-{file.stem}.jpg" for n, file in enumerate(files, start=1)]


def test_results_stay_on_stdout_beside_a_progress_bar(macnn, trained, birds, monkeypatch):
    """A bar on a terminal takes over sys.stdout, and would carry the results to stderr."""
    monkeypatch.setattr("macnn_cli.console.err", Console(stderr=True, force_terminal=True))
    file = next(birds.glob("images/*/*"))
    _, out, err = macnn("predict", "--checkpoint", trained("macnn"), file, "--json")
    assert lines(out)[0]["source"] == str(file)
    assert "Predicting" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--json", "--csv"), USAGE, "exclude each other"),
        (("--top", 0), USAGE, "--top"),
        (("--device", "gpu"), USAGE, "'gpu'"),
    ],
)
def test_options_that_make_no_sense_are_refused(macnn, trained, birds, arguments, code, words):
    status, out, err = macnn("predict", "--checkpoint", trained("macnn"), birds, *arguments)
    assert (status, out) == (code, "")
    assert words in err


def test_what_cannot_be_predicted_with_or_on_is_named(macnn, trained, birds, tmp_path):
    code, _, err = macnn("predict", "--checkpoint", trained("parts"), birds)
    assert code == CHECKPOINT
    assert "cannot name classes yet; train from it first" in err
    code, _, err = macnn("predict", "--checkpoint", trained("macnn"), tmp_path)
    assert code == DATA
    assert "holds no picture" in err
    code, _, err = macnn("predict", "--checkpoint", trained("macnn"), tmp_path / "none.jpg")
    assert code == DATA
    assert (
        err == f"macnn: {tmp_path}/none.jpg: no such file or folder; name pictures, or a folder\n"
    )


def test_a_missing_picture_of_a_list_is_named_and_skipped(macnn, trained, birds, monkeypatch):
    listed = f"nowhere.jpg\n{next(birds.glob('images/*/*'))}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    code, out, err = macnn("predict", "--checkpoint", trained("macnn"), "-", "--json")
    assert (code, len(lines(out))) == (DATA, 1)
    assert "nowhere.jpg: no such file" in err
    assert "1 of 2 pictures could not be read" in err
