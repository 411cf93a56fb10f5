import os

import pytest

from macnn.data.layouts import find, open_data_set
from macnn.data.layouts import manifest as module
from macnn.errors import DataError

ROWS = [
    ("a/1.jpg", "wren", "train"),
    ("a/2.jpg", "robin, red", "train"),
    ('a/the "third"\n.jpg', "wren", "Valid"),
    ("b 4.jpg", "robin, red", "test"),
]


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


@pytest.fixture
def manifest(tmp_path, write_images):
    """Four images listed as a spreadsheet saves them: in quotes, after a byte-order mark."""
    root = tmp_path / "listed"
    write_images(root, [row[0] for row in ROWS])
    lines = ["path,label,split", *(",".join(map(quoted, row)) for row in ROWS)]
    (root / "birds.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig", newline="")
    return root / "birds.csv"


@pytest.mark.parametrize("name", ["the file", "its folder"])
def test_a_csv_file_lists_images_labels_and_splits(manifest, name):
    images = open_data_set(manifest if name == "the file" else manifest.parent)
    assert images.layout == "manifest"
    assert images.class_names == ("robin, red", "wren")
    assert [s.path.name for s in images.samples][2] == 'the "third"\n.jpg'
    assert [s.label for s in images.samples] == [1, 0, 1, 0]
    assert [s.split for s in images.samples] == ["train", "train", "validation", "test"]
    assert all(s.path.is_file() for s in images.samples)


def test_without_the_column_nothing_is_split_yet(manifest):
    manifest.write_text("label,path\nwren,a/1.jpg\nrobin,a/2.jpg\n")
    images = open_data_set(manifest)
    assert [s.split for s in images.samples] == ["train", "train"]
    assert images.notes == ("it has no splits: a share of every class is held out for testing",)


def test_absolute_paths_are_taken_as_they_are(manifest):
    file = manifest.parent / "b 4.jpg"
    manifest.write_text(f"path,label\n{file},wren\na/1.jpg,robin\n")
    assert open_data_set(manifest).samples[0].path == file


def test_numbers_are_sorted_as_numbers_and_their_gaps_noted(manifest):
    manifest.write_text("path,label\na/1.jpg,10\na/2.jpg,9\nb 4.jpg,7\n")
    images = open_data_set(manifest)
    assert images.class_names == ("7", "9", "10")
    assert images.notes[0] == "labels have gaps, as between 7 and 9"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,class\na.jpg,wren\n", ("no column 'label'", "its header is 'path,class'")),
        ("file;label\na.jpg;wren\n", ("no column 'path'", "expected path,label,split")),
        ("", ("no column 'path'",)),
        ("path,label\na.jpg,\n", (":2: a line needs a path and a label",)),
        ("path,label,split\na,b,dev\n", (":2: split 'dev' is unknown", "train, val or test")),
        ("path,label,split\na,b\n", (":2: split '' is unknown",)),
        ("path,label\na,b\na,c\n", ("a: listed 2 times", "one label")),
        ("path,label,split\na,b,train\nc,d,test\n", ("class 'd' has no training image",)),
        ("path,label\n", ("lists no image",)),
    ],
)
def test_a_broken_manifest_is_refused(manifest, refused, text, words):
    manifest.write_text(text)
    refused(manifest, *words)


def test_two_manifests_are_refused(manifest, refused):
    (manifest.parent / "more.csv").write_bytes(manifest.read_bytes())
    refused(manifest.parent, "holds several manifests (birds.csv, more.csv)", "name one")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\n" + "a" * 200_000 + ",x\n", (":1: not a readable row (more than 20,000",)),
        ('path,label\n"' + "a\n" * 50_000, ("not a readable row", "is a quotation mark missing?")),
        ("path,label\n" + "a," * 100_000 + "\n", ("not a readable row (more than 20,000 char",)),
        (",".join(f"c{k}" for k in range(100_000)), ("not a readable row (more than 20,000 char",)),
        ("path,label\na.jpg,x\n\0\n", (":3: a line needs a path and a label",)),
        ("path,label\na.jpg," + "x" * 501 + "\nb.jpg,y", ("a name of more than 500 characters",)),
        ("path," * 9 + "label\na,b\n", (":2: a line needs a path and a label",)),
        ("path,label,split\n" + "," * 20_000 + "\n", ("not a readable row (more than 20,000",)),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_manifest_that_no_spreadsheet_would_save_is_refused(manifest, refused, text, words):
    manifest.write_text(text)
    refused(manifest, *words, dataset="manifest")


def test_numbers_without_end_are_text(manifest):
    long = "9" * 480
    manifest.write_text(f"path,label\na/1.jpg,{long}\na/2.jpg,\u0663\n")
    assert open_data_set(manifest).class_names == (long, "\u0663")


def test_more_images_than_a_data_set_has_are_refused(manifest, monkeypatch):
    monkeypatch.setattr(module, "IMAGES", 3)
    with pytest.raises(DataError, match=r"birds\.csv:6: more than 3 images"):
        open_data_set(manifest)


@pytest.mark.parametrize("kind", ["field", "quote", "pipe", "zero", "sparse", "loop", "nul"])
def test_no_stray_csv_keeps_class_folders_from_being_recognised(tmp_path, write_images, kind):
    write_images(tmp_path, ["wren/1.jpg", "robin/1.jpg"])
    stray = tmp_path / "stray.csv"
    if kind in ("zero", "loop"):
        stray.symlink_to("/dev/zero" if kind == "zero" else stray)
    elif kind == "pipe":
        os.mkfifo(stray)
    else:
        stray.write_bytes({"field": b"a" * 200_000, "quote": b'"\n' * 99_999}.get(kind, b"\0"))
    if kind == "sparse":
        os.truncate(stray, 2 * 2**40)
    assert find(tmp_path).layout.name == "folders"
    assert len(open_data_set(tmp_path).samples) == 2
