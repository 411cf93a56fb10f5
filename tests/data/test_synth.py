import filecmp

import pytest

from macnn.data.cub import read_cub
from macnn.data.synth import write_birds
from macnn.errors import UsageError


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_birds(tmp_path):
    first, same, other = (tmp_path / name for name in ("first", "same", "other"))
    for folder, seed in ((first, 1), (same, 1), (other, 2)):
        write_birds(folder, images_per_class=2, size=48, seed=seed)
    names = files(first)
    assert names == files(same)
    assert filecmp.cmpfiles(first, same, names, shallow=False)[0] == names
    pictures = [name for name in names if name.suffix == ".jpg"]
    assert filecmp.cmpfiles(first, other, pictures, shallow=False)[0] == []


def test_it_is_read_as_a_data_set_with_boxes_and_four_parts(birds):
    images = read_cub(birds)
    assert len(images.class_names) == 16
    assert images.keypoint_names == ("head", "wing", "breast", "tail")
    assert {s.label for s in images.split("train").samples} == set(range(16))
    assert {s.label for s in images.split("test").samples} == set(range(16))


def test_every_part_lies_in_the_box_and_the_box_in_the_image(birds):
    for sample in read_cub(birds).samples:
        box = sample.box
        assert 0 <= box.x < box.x + box.width <= 64
        assert 0 <= box.y < box.y + box.height <= 64
        for point in sample.keypoints:
            if point is not None:
                assert box.x <= point[0] <= box.x + box.width
                assert box.y <= point[1] <= box.y + box.height


def test_every_class_has_a_neighbour_that_differs_in_one_part_only(birds):
    species = [name.split(".")[1].split("_") for name in read_cub(birds).class_names]
    markings = {tuple(words[::2]) for words in species}
    assert len(markings) == 16
    for bird in markings:
        for part in range(4):
            assert any(
                other[part] != bird[part]
                and other[:part] + other[part + 1 :] == bird[:part] + bird[part + 1 :]
                for other in markings
            )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 17}, "17"),
        ({"images_per_class": 1}, "images_per_class"),
        ({"size": 8}, "size"),
        ({"seed": -1}, "seed"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(
    tmp_path, arguments, message
):
    with pytest.raises(UsageError) as refused:
        write_birds(tmp_path / "birds", **arguments)
    assert message in str(refused.value)
    assert not (tmp_path / "birds").exists()


def test_a_folder_that_holds_files_is_kept(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        write_birds(tmp_path)
