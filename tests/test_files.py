import os

import pytest

from macnn.files import (
    append_text,
    clear_leftovers,
    cut,
    discard_files,
    discard_tree,
    move_files,
    new_id,
    temporaries,
    temporary_path,
    whole_folder,
    write_bytes,
    write_json,
)


@pytest.fixture
def outside(tmp_path):
    """A file of somebody's, for links to lead to."""
    file = tmp_path / "outside.txt"
    file.write_text("mine")
    return file


@pytest.fixture
def folder(tmp_path):
    return (tmp_path / "folder").absolute()


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(folder):
    folder.mkdir()
    for content in (b"old", b"new"):
        write_bytes(folder / "a", content)
    assert (folder / "a").read_bytes() == b"new"
    assert [entry.name for entry in folder.iterdir()] == ["a"]


def test_a_value_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not (tmp_path / "a.json").exists()


def test_a_link_is_neither_written_through_nor_replaced(tmp_path, outside):
    link = tmp_path / "link"
    link.symlink_to(outside)
    for write in (
        lambda: write_bytes(link, b"x"),
        lambda: append_text(link, "x"),
        lambda: cut(link, 0),
        lambda: whole_folder(link).__enter__(),
    ):
        with pytest.raises(OSError, match="is a link"):
            write()
    assert link.is_symlink()
    assert outside.read_text() == "mine"


def test_a_file_with_a_second_name_is_not_written_in_place(tmp_path, outside):
    os.link(outside, tmp_path / "second")
    for write in (lambda: append_text(tmp_path / "second", "x"), lambda: cut(outside, 0)):
        with pytest.raises(OSError, match="several names"):
            write()
    assert outside.read_text() == "mine"


def test_a_pipe_is_not_appended_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no file"):
        append_text(tmp_path / "pipe", "x")


def test_a_file_is_cut_and_never_made_longer(tmp_path):
    append_text(tmp_path / "rows", "one\ntwo\n")
    cut(tmp_path / "rows", 4)
    cut(tmp_path / "rows", 100)
    assert (tmp_path / "rows").read_text() == "one\n"


def test_temporary_names_differ_and_tell_their_owner(folder):
    one, other = new_id(), new_id()
    folder.mkdir()
    for owner in (one, one, other):
        temporary_path(folder, owner).touch()
    (folder / f".macnn-{one}").touch()
    assert len(temporaries(folder, one)) == 2
    assert len(temporaries(folder)) == 3


def test_leftovers_of_a_run_go_and_everything_else_stays(folder, outside):
    mine, other = new_id(), new_id()
    folder.mkdir()
    tree = temporary_path(folder, mine)
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "link").symlink_to(outside.parent)
    temporary_path(folder, mine).symlink_to(outside)
    kept = {temporary_path(folder, other), folder / ".git", folder / ".macnn-notes"}
    for file in kept:
        file.touch()
    clear_leftovers(folder, mine)
    assert set(folder.iterdir()) == kept
    assert outside.read_text() == "mine"


def test_only_a_temporary_folder_is_deleted_whole(folder):
    folder.mkdir()
    with pytest.raises(ValueError, match="not a temporary folder"):
        discard_tree(folder)
    assert folder.exists()


def test_leftovers_behind_a_link_are_not_ours(tmp_path, folder):
    owner = new_id()
    folder.mkdir()
    left = temporary_path(folder, owner)
    left.touch()
    (tmp_path / "link").symlink_to(folder)
    clear_leftovers(tmp_path / "link", owner)
    assert left.exists()


def test_files_are_deleted_by_name_and_their_folder_only_if_it_is_empty_then(folder):
    folder.mkdir()
    for name in ("a", "b", "notes"):
        (folder / name).touch()
    discard_files(folder, ["a", "missing"])
    assert {entry.name for entry in folder.iterdir()} == {"b", "notes"}
    discard_files(folder, ["b", "notes"])
    assert not folder.exists()


def test_moved_files_leave_other_files_and_no_empty_folders(tmp_path, folder):
    for name in ("a", "deep/er/b", "deep/notes"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    move_files(["a", "deep/er/b"], folder, tmp_path / "aside")
    assert (tmp_path / "aside/deep/er/b").read_text() == "deep/er/b"
    left = {str(entry.relative_to(folder)) for entry in folder.rglob("*")}
    assert left == {"deep", "deep/notes"}


def test_nothing_is_moved_out_of_a_folder_that_is_a_link(tmp_path, folder, outside):
    folder.mkdir()
    (folder / "report").symlink_to(outside.parent)
    with pytest.raises(OSError, match="is a link"):
        move_files([f"report/{outside.name}"], folder, tmp_path / "aside")
    assert outside.exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path, folder):
    def fail(folder):
        with whole_folder(folder) as inside:
            (inside / "a").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(folder)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir()  # an empty one may be there
    with whole_folder(folder) as inside:
        (inside / "a").touch()
        assert list(folder.iterdir()) == []
    assert [entry.name for entry in tmp_path.rglob("*")] == ["folder", "a"]


def test_a_folder_in_use_is_not_replaced(tmp_path, folder):
    folder.mkdir()
    (folder / "mine").write_text("mine")
    with pytest.raises(OSError, match="not empty"), whole_folder(folder):
        pass
    assert (folder / "mine").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [folder]


def test_listed_files_are_replaced_and_put_back_if_others_turn_up(tmp_path, folder):
    folder.mkdir()
    (folder / "model").write_text("old")

    def interfere():
        with whole_folder(folder, replaced=["model"]) as inside:
            (inside / "model").write_text("new")
            (folder / "mine").write_text("mine")

    with pytest.raises(OSError, match="not empty"):
        interfere()
    assert {f.name: f.read_text() for f in folder.iterdir()} == {"model": "old", "mine": "mine"}
    (folder / "mine").unlink()
    with whole_folder(folder, replaced=["model"]) as inside:
        (inside / "model").write_text("new")
    assert (folder / "model").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]
