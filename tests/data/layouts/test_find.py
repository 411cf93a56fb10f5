from typing import get_args

import pytest

from macnn import events
from macnn.config.data import DataSettings
from macnn.data.layouts import LAYOUTS, find, open_data_set
from macnn.errors import DataError, UsageError


def test_every_layout_can_be_named_in_the_settings():
    assert set(get_args(DataSettings.model_fields["dataset"].annotation)) == {"auto", *LAYOUTS}
    assert all(name == layout.name for name, layout in LAYOUTS.items())


def test_auto_says_which_layout_and_why(birds):
    heard = []
    open_data_set(birds, listen=heard.append)
    text = f"{birds}: CUB-200-2011 (cub), as it holds images.txt and image_class_labels.txt"
    assert heard == [events.Notice("info", text)]


def test_a_named_layout_is_not_announced(birds):
    heard = []
    open_data_set(birds, "cub", heard.append)
    assert heard == []


def test_the_parent_of_a_data_set_will_do(birds):
    assert find(birds.parent).root == birds
    assert find(birds.parent, "cub").root == birds


def test_two_layouts_that_fit_are_refused(tmp_path, write_images):
    for name in ("wren", "robin"):
        write_images(tmp_path / name, ["1.jpg"])
    (tmp_path / "list.csv").write_text("path,label\nwren/1.jpg,wren\nrobin/1.jpg,robin\n")
    with pytest.raises(UsageError) as refused:
        find(tmp_path)
    for word in (
        "folders (it holds 2 folders",
        "manifest (list.csv",
        "use `data.dataset=folders` or",
    ):
        assert word in str(refused.value)
    assert find(tmp_path, "folders").layout is LAYOUTS["folders"]
    assert len(open_data_set(tmp_path, "manifest").samples) == 2


def test_two_data_sets_in_one_folder_are_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("images.txt", "classes.txt"):
            (tmp_path / name / file).write_text("1 a\n")
    with pytest.raises(DataError, match=r"several data sets \(one, two\); name one"):
        find(tmp_path)


def test_nothing_there_and_nothing_known_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder; name that of a data set"):
        find(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match="in no layout that is known; name a folder of class"):
        find(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("files", "lack"),
    [
        ([], "no folder in it holds images"),
        (["a.jpg", "b.jpg"], "2 images in it, but no folder holds any"),
        (["wren/a.jpg"], r"only one folder in it holds images \('wren'\)"),
    ],
)
def test_where_nothing_fits_it_is_said_what_class_folders_lack(tmp_path, write_images, files, lack):
    write_images(tmp_path, files)
    with pytest.raises(DataError, match=f"is known, {lack}; make one folder per class") as refused:
        find(tmp_path)
    assert "CSV manifest" in str(refused.value)


def test_a_named_layout_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"Flowers-102 layout, imagelabels\.mat is missing"):
        open_data_set(tmp_path, "flowers")
