import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from macnn import events
from macnn.data.check import check


@pytest.fixture
def birds_copy(birds, tmp_path):
    """A copy of the birds, to be damaged."""
    return shutil.copytree(birds, tmp_path / "birds")


def kinds(report):
    return [finding.kind for finding in report.findings]


def first_image(root):
    return root / "images" / (root / "images.txt").read_text().split("\n")[0].split(maxsplit=1)[1]


def test_a_sound_data_set_has_counts_and_no_findings(birds):
    heard = []
    report = check(birds, listen=heard.append)
    found = report.to_json()
    assert (found["images"], found["readable"], found["stops"]) == (48, 48, False)
    assert found["splits"] == {"train": 32, "validation": 0, "test": 16}
    assert len(found["classes"]) == 16
    assert set(map(str, found["classes"].values())) == {"{'train': 2, 'validation': 0, 'test': 1}"}
    assert found["findings"] == []
    assert heard[-1] == events.Progress("Checking images", 48, 48)


def test_a_thousand_images_of_which_seven_are_bad(tmp_path):
    tiny = Image.effect_noise((40, 40), 80)
    for number in range(1000):
        folder = tmp_path / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        tiny.save(folder / f"{number:04d}.png", compress_level=1)
    whole = (tmp_path / "train" / "a" / "0000.png").read_bytes()
    damage = {
        "0004": b"",
        "0113": b"not an image",
        "0200": whole[:-60],
        "0321": whole[:30],
        "0500": whole[:700] + bytes(300) + whole[1000:],
        "0999": b"\0" * 500,
    }
    for name, content in damage.items():
        next(tmp_path.glob(f"*/*/{name}.png")).write_bytes(content)
    link = tmp_path / "train" / "a" / "0600.png"
    link.unlink()
    link.symlink_to("nowhere.png")
    found = check(tmp_path).to_json()
    bad = [finding for finding in found["findings"] if finding["kind"] == "unreadable"]
    assert sorted(f["path"][-8:-4] for f in bad) == sorted([*damage, "0600"])
    assert (found["readable"], found["unreadable"], found["images"]) == (993, 7, 1000)
    assert found["stops"]


def test_a_broken_layout_is_reported_not_raised(birds_copy):
    (birds_copy / "classes.txt").unlink()
    report = check(birds_copy)
    assert kinds(report) == ["layout"]
    assert report.stops
    assert report.to_json()["images"] == 0


def test_boxes_and_parts_outside_their_image_are_named(birds_copy):
    boxes = birds_copy / "bounding_boxes.txt"
    lines = boxes.read_text().split("\n")
    lines[:3] = ["1 60 10 30 20", "2 10 10 0 20", "3 -0.5 -0.5 65 65"]
    boxes.write_text("\n".join(lines))
    parts = birds_copy / "parts" / "part_locs.txt"
    lines = parts.read_text().split("\n")
    lines[0] = "1 1 -20 5 1"
    parts.write_text("\n".join(lines))
    report = check(birds_copy)
    assert kinds(report) == ["box", "part", "box"]
    assert report.findings[0].text == "box from (60, 10) to (90, 30), image 64 x 64"
    assert report.findings[1].text.endswith("at (-20, 5), image 64 x 64")
    assert not report.stops


def test_one_image_in_two_splits_is_found_by_its_bytes_and_by_its_looks(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(3):
                picture = Image.effect_noise((8, 8), 120).convert("RGB").resize((90, 70), 3)
                picture.save(tmp_path / split / name / f"{number}.jpg", quality=95)
    train, test = tmp_path / "train", tmp_path / "test"
    shutil.copy(train / "a" / "1.jpg", test / "b" / "1.jpg")
    with Image.open(train / "b" / "2.jpg") as picture:
        picture.resize((63, 49)).save(test / "b" / "2.jpg", quality=70)
    report = check(tmp_path)
    assert [(f.kind, f.path, f.text) for f in report.findings] == [
        ("duplicate", str(test / "b" / "1.jpg"),
         f"in test, same bytes as {train / 'a' / '1.jpg'} in train, of class 'a'"),
        ("duplicate", str(test / "b" / "2.jpg"),
         f"in test, looks like {train / 'b' / '2.jpg'} in train"),
    ]  # fmt: skip
    assert not report.stops


def test_the_same_bytes_twice_are_found_within_a_class_and_between_two(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.effect_noise((50, 40), 120).save(tmp_path / name / f"{number}.png")
    first = tmp_path / "a" / "0.png"
    shutil.copy(first, tmp_path / "a" / "copy.png")
    shutil.copy(first, tmp_path / "b" / "copy.png")
    report = check(tmp_path)
    assert [(f.kind, f.path, f.text) for f in report.findings] == [
        ("duplicate", str(tmp_path / "a" / "copy.png"), f"same bytes as {first}"),
        ("duplicate", str(tmp_path / "b" / "copy.png"), f"same bytes as {first}, of class 'a'"),
    ]
    assert not report.stops


def test_plain_images_do_not_look_like_each_other(tmp_path):
    for split in ("train", "test"):
        for name, colour in (("a", "red"), ("b", "blue")):
            (tmp_path / split / name).mkdir(parents=True)
            side = 40 if split == "train" else 44
            Image.new("RGB", (side, side), colour).save(tmp_path / split / name / "0.png")
    assert kinds(check(tmp_path)) == []


def test_small_images_stray_files_and_links_to_elsewhere_are_mentioned(birds_copy, tmp_path):
    first = first_image(birds_copy)
    (first.parent / "Thumbs.db").write_bytes(b"")
    (first.parent / "unlisted.jpg").write_bytes(b"")
    elsewhere = tmp_path / "elsewhere.jpg"
    first.rename(elsewhere)
    first.symlink_to(elsewhere)
    Image.new("RGB", (31, 400)).save(elsewhere)
    findings = {finding.kind: finding for finding in check(birds_copy).findings}
    assert findings["small"].text == "31 x 400 pixels"
    assert findings["link"].text.endswith(
        f": lies outside the data set, at {elsewhere}; put it there, or use `data.allow_links=true`"
    )
    assert findings["stray"].text == "2 files of no sample: Thumbs.db, unlisted.jpg"
    assert findings["stray"].path == str(first.parent)


@pytest.mark.parametrize("splits", [("train", "test"), ("",)])
def test_stray_files_above_class_folders_are_mentioned(tmp_path, splits):
    places = {tmp_path, *(tmp_path / split for split in splits)}
    for split in splits:
        for name in ("wren", "robin", ".hidden"):
            (tmp_path / split / name).mkdir(parents=True)
            picture = Image.effect_noise((8, 8), 120).resize((50, 40))
            picture.save(tmp_path / split / name / "0.png")
    for place in places:
        (place / "notes.txt").write_text("mine")
        Image.effect_noise((50, 40), 120).save(place / "loose.png")
    report = check(tmp_path)
    assert [(f.kind, f.path, f.text) for f in report.findings] == [
        ("stray", str(place), "1 file of no sample: notes.txt") for place in sorted(places)
    ]
    assert sum("outside class folders" in n for n in report.images.notes) == len(places)


def test_a_listed_image_that_is_not_there_stops_training(birds_copy):
    first_image(birds_copy).unlink()
    report = check(birds_copy)
    assert kinds(report) == ["unreadable"]
    assert report.findings[0].text.endswith("no such file")


def test_every_broken_picture_is_a_finding_and_none_stops_the_check(tmp_path):
    for name in ("a/0.png", "a/1.png", "b/0.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.effect_noise((40, 40), 80).save(tmp_path / name)
    bad = tmp_path / "a"
    os.mkfifo(bad / "pipe.png")
    (bad / "loop.png").symlink_to("loop.png")
    (bad / "zero.png").symlink_to("/dev/zero")
    with (bad / "sparse.png").open("wb") as file:
        file.truncate(2 * 2**40)
    report = check(tmp_path)
    found = {(Path(f.path).name, f.kind) for f in report.findings if f.stops}
    broken = {(f"{name}.png", "unreadable") for name in ("pipe", "loop", "zero", "sparse")}
    assert found == {*broken, ("zero.png", "link")}
    assert all(finding.text.isprintable() for finding in report.findings)


def test_nothing_is_written_into_the_data_set(birds_copy):
    before = {p: p.stat().st_mtime_ns for p in birds_copy.rglob("*")}
    check(birds_copy)
    assert {p: p.stat().st_mtime_ns for p in birds_copy.rglob("*")} == before


def test_real_birds_are_sound_and_what_is_listed_but_absent_is_mentioned(real_birds):
    found = check(real_birds).to_json()
    assert (found["images"], found["unreadable"]) == (543, 0)
    assert len(found["classes"]) == 10
    assert found["splits"] == {"train": 300, "validation": 0, "test": 243}
    assert len(found["parts"]) == 15
    assert "11,245 listed images absent from images.txt" in found["notes"][0]
    assert found["findings"] == []
