import pytest

from macnn.errors import DataError
from macnn.inference.pictures import find_pictures


def test_folders_are_searched_by_name_and_files_taken_as_they_are(tmp_path):
    for name in ("b/2.JPG", "b/1.png", "a.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    given = [tmp_path / "notes.txt", tmp_path, tmp_path / "missing.jpg"]
    found = [str(file.relative_to(tmp_path)) for file in find_pictures(given)]
    assert found == ["notes.txt", "a.webp", "b/1.png", "b/2.JPG", "missing.jpg"]


def test_a_folder_without_a_picture_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        find_pictures([tmp_path])
