from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from macnn import events
from macnn.data.layouts.cub import read_cub
from macnn.data.synth import write_birds
from macnn.data.synth.classes import COLOURS, PARTS, all_species, species_name
from macnn.data.synth.picture import draw_picture
from macnn.errors import DiskError, UsageError


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth") / "birds"
    write_birds(root, images_per_class=3, size=48)
    return root


def test_same_seed_same_bytes_and_another_seed_others(birds: Path, tmp_path: Path) -> None:
    write_birds(tmp_path / "same", images_per_class=3, size=48)
    write_birds(tmp_path / "other", images_per_class=3, size=48, seed=1)
    assert files(tmp_path / "same") == files(birds)
    assert files(tmp_path / "other") != files(birds)


def test_the_lists_agree_with_the_images(birds: Path) -> None:
    classes = {int(k): name for k, name in rows(birds / "classes.txt")}
    labels = {k: int(label) for k, label in rows(birds / "image_class_labels.txt")}
    images = rows(birds / "images.txt")
    assert [k for k, _ in images] == [str(n) for n in range(1, 49)]
    for k, path in images:
        assert Path(path).parts[0] == classes[labels[k]]
        with Image.open(birds / "images" / path) as image:
            assert image.size == (48, 48)
    assert [name for _, name in rows(birds / "parts" / "parts.txt")] == list(PARTS)


def test_every_class_is_in_both_splits_two_to_one(birds: Path) -> None:
    training = {k: int(flag) for k, flag in rows(birds / "train_test_split.txt")}
    for number in range(1, 17):
        mine = [k for k, label in rows(birds / "image_class_labels.txt") if int(label) == number]
        assert sorted(training[k] for k in mine) == [0, 1, 1]


def test_boxes_lie_in_images_and_keypoints_in_boxes(birds: Path) -> None:
    boxes = {k: tuple(map(float, box)) for k, *box in rows(birds / "bounding_boxes.txt")}
    located = rows(birds / "parts" / "part_locs.txt")
    assert len(located) == len(boxes) * len(PARTS)
    for x, y, width, height in boxes.values():
        assert min(x, y) >= 0
        assert max(x + width, y + height) <= 48
    for k, _, px, py, visible in located:
        x, y, width, height = boxes[k]
        assert visible == "1"
        assert x - 0.1 <= float(px) <= x + width + 0.1
        assert y - 0.1 <= float(py) <= y + height + 0.1


def test_the_loader_reads_it(birds: Path) -> None:
    images = read_cub(birds)
    assert len(images.class_names) == 16
    assert images.keypoint_names == PARTS
    for split in ("train", "test"):
        assert {sample.label for sample in images.split(split).samples} == set(range(16))


@pytest.mark.parametrize("classes", [16, 24, 36, 81, 625])
def test_every_species_has_a_neighbour_that_differs_in_one_part_only(classes: int) -> None:
    species = all_species(classes)
    known = set(species)
    assert len(known) == classes == len({species_name(kind) for kind in species})
    for kind in species:
        for part in range(len(PARTS)):
            others = {(*kind[:part], colour, *kind[part + 1 :]) for colour in COLOURS}
            assert (others & known) - {kind}


def test_a_part_shows_the_colour_of_its_species() -> None:
    red_minus_blue = []
    for colour in ("red", "blue"):
        rng = np.random.default_rng(0)
        picture = draw_picture((colour,) * len(PARTS), rng, colours=("red", "blue"))
        pixels = np.asarray(picture.image, dtype=int)
        at_parts = [pixels[round(y), round(x)] for x, y in picture.keypoints]
        red_minus_blue.append([pixel[0] - pixel[2] for pixel in at_parts])
    assert min(red_minus_blue[0]) > 0 > max(red_minus_blue[1])


def test_progress_reaches_the_number_of_images(tmp_path: Path) -> None:
    heard: list[events.Event] = []
    write_birds(tmp_path / "birds", images_per_class=2, size=32, listen=heard.append)
    last = heard[-1]
    assert isinstance(last, events.Progress)
    assert (last.done, last.total) == (32, 32)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 20}, "ask for one of 16, 24"),
        ({"images_per_class": 1}, "ask for 2 or more"),
        ({"size": 8}, "ask for 32 or more"),
        ({"seed": -1}, "use 0 or more"),
    ],
)
def test_bad_arguments_are_refused_and_leave_nothing(
    wrong: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        write_birds(tmp_path / "birds", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="name another folder"):
        write_birds(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_parent_that_is_a_file_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="could not be written"):
        write_birds(tmp_path / "file" / "birds")


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_birds(tmp_path / "birds", images_per_class=2, size=32, listen=interrupt)
    assert not list(tmp_path.iterdir())
