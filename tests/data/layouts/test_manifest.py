import pytest

from macnn.data.layouts import open_data_set

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
