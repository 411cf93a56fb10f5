import json
import os
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from macnn.data.cache import open_cache, write_cache
from macnn.data.layouts import open_data_set
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.samples import BadImage
from macnn.data.transforms import geometry
from macnn.errors import DataError, DiskError, UsageError

SIZE = 32


@pytest.fixture
def images(tmp_path):
    """Six photographs of two classes and several shapes."""
    root = tmp_path / "data"
    for number in range(6):
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.effect_noise((60 + 13 * number, 90 - 7 * number), 60).convert("RGB")
        picture.save(folder / f"{number}.png")
    Image.new("RGB", (20, 24), "red").save(root / "a" / "small.png")
    return open_data_set(root)


@pytest.fixture
def folder(images, tmp_path):
    """A cache of them."""
    assert write_cache(images, tmp_path / "cache", SIZE)["images"] == 7
    return tmp_path / "cache"


@pytest.mark.parametrize("augment", ["none", "flip"])
@pytest.mark.parametrize("workers", [0, 2])
def test_with_crop_the_network_sees_the_same_bits(images, folder, augment, workers):
    plain = ImageDataset(images, geometry(SIZE, "crop", augment), seed=1)
    cached = replace(plain, cache=open_cache(folder, images, SIZE))
    for expected, batch in zip(
        Loader(plain, 3, shuffle=True).epoch(2),
        Loader(cached, 3, shuffle=True, workers=workers).epoch(2),
        strict=True,
    ):
        assert torch.equal(batch.images, expected.images)
        assert_close(batch.frames, expected.frames)


@pytest.mark.parametrize(("mode", "augment"), [("pad", "none"), ("crop", "strong")])
def test_otherwise_it_is_nearly_the_same_at_the_same_place(images, folder, mode, augment):
    plain = ImageDataset(images, geometry(SIZE, mode, augment), seed=1)
    cached = replace(plain, cache=open_cache(folder, images, SIZE))
    expected, batch = (next(Loader(p, 7).epoch()) for p in (plain, cached))
    if augment == "none":  # a strong crop is drawn for the size it is given
        assert_close(batch.frames, expected.frames, atol=0.5, rtol=0.02)
    assert (batch.images.float() - expected.images.float()).abs().mean() < 40


def test_images_are_shrunk_never_enlarged(images, folder):
    entries = open_cache(folder, images, SIZE).entries
    assert {min(entry.cached) for entry in entries.values()} == {20, SIZE}


def test_an_image_that_changed_is_noticed(images, folder):
    path = images.samples[2].path
    os.utime(path, ns=(0, 0))
    with pytest.raises(DataError, match=f"{path.name}: changed since it was cached"):
        open_cache(folder, images, SIZE)
    path.unlink()
    with pytest.raises(DataError, match="changed since"):
        open_cache(folder, images, SIZE)


def test_an_image_that_is_not_in_it_is_noticed(images, tmp_path):
    write_cache(replace(images, samples=images.samples[1:]), tmp_path / "less", SIZE)
    with pytest.raises(DataError, match=f"{images.samples[0].path.name}: not in"):
        open_cache(tmp_path / "less", images, SIZE)


def test_a_cache_of_smaller_images_is_refused(images, folder):
    with pytest.raises(UsageError, match=r"32 pixels, `data\.image_size` is 64"):
        open_cache(folder, images, 64)


def test_bicubic_images_are_cached_as_the_network_sees_them(images, folder, tmp_path):
    write_cache(images, tmp_path / "bicubic", SIZE, "bicubic")
    plain = ImageDataset(images, geometry(SIZE, "crop", interpolation="bicubic"), seed=1)
    cached = replace(plain, cache=open_cache(tmp_path / "bicubic", images, SIZE, "bicubic"))
    expected, batch = (next(Loader(p, 7).epoch()) for p in (plain, cached))
    assert torch.equal(batch.images, expected.images)
    with pytest.raises(UsageError, match=r"shrunk bilinear, `data\.interpolation` is bicubic"):
        open_cache(folder, images, SIZE, "bicubic")


def test_a_cache_without_index_or_pixels_is_refused(images, folder):
    for name in ("pixels.bin", "index.jsonl"):
        (folder / name).unlink()
        with pytest.raises(DataError, match=rf"{name}: no such file; write a new cache"):
            open_cache(folder, images, SIZE)


def damage(folder, line, **changes):
    """Change values in one line of the index, or the line itself."""
    index = folder / "index.jsonl"
    rows = [json.loads(row) for row in index.read_text().splitlines()]
    rows[line] = changes.pop("whole", rows[line] | changes)
    index.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("line", "changes", "words"),
    [
        (0, {"version": 1}, r":1: damaged \(version"),
        (0, {"size": "32"}, r":1: damaged \(size"),
        (0, {"interpolation": "cubic"}, r":1: damaged \(interpolation"),
        (0, {"images": 9}, r":9: damaged"),
        (0, {"images": 10**9}, "more than 3,000,000 images"),
        (1, {"whole": [[]]}, r":2: damaged"),
        (1, {"cached": [0, 32]}, r":2: damaged \(cached"),
        (1, {"cached": [10**6, 10**6]}, "1000000 x 1000000 pixels, more than"),
        (1, {"stored": [60.5, 90]}, r":2: damaged \(stored"),
        (2, {"offset": 0}, r"damaged \(offsets\)"),
        (2, {"offset": -1}, r":3: damaged \(offset"),
        (7, {"cached": [32, 1600]}, r"pixels\.bin: too short"),
    ],
)
def test_a_damaged_index_is_refused(images, folder, line, changes, words):
    damage(folder, line, **changes)
    with pytest.raises(DataError, match=words):
        open_cache(folder, images, SIZE)


def test_pixels_that_are_cut_off_or_replaced_later_are_one_line(images, folder):
    cache = open_cache(folder, images, SIZE)
    pixels = folder / "pixels.bin"
    os.truncate(pixels, 100)
    with pytest.raises(DataError, match=r"pixels\.bin: too short; write a new cache"):
        cache.read(images.samples[0].path)
    pixels.unlink()
    os.mkfifo(pixels)  # opening it would wait for ever
    with pytest.raises(DataError, match=r"pixels\.bin: too short"):
        cache.read(images.samples[0].path)


def test_names_that_are_not_utf8_are_cached(images, tmp_path):
    path = images.samples[0].path
    odd = path.rename(path.with_name(os.fsdecode(b"caf\xe9.png")))
    renamed = replace(images, samples=(replace(images.samples[0], path=odd),))
    write_cache(renamed, tmp_path / "odd", SIZE)
    assert open_cache(tmp_path / "odd", renamed, SIZE).read(odd)[0].shape[0] == 3


def test_the_reason_of_a_bad_image_is_kept(images, tmp_path):
    bad = BadImage(images.samples[0], "does not decode")
    whole = replace(images, samples=images.samples[1:], failed=(bad,))
    write_cache(whole, tmp_path / "c", SIZE)
    cache = open_cache(tmp_path / "c", images, SIZE)
    assert cache.reason(bad.sample.path) == "does not decode"
    with pytest.raises(DataError, match=r"does not decode; a check .* `data.skip_bad_images`"):
        cache.read(bad.sample.path)


def test_a_bad_image_or_a_bad_place_leaves_nothing(images, tmp_path):
    with pytest.raises(UsageError, match="not an empty folder"):
        write_cache(images, images.root, SIZE)
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot be written"):
        write_cache(images, tmp_path / "file" / "cache", SIZE)
    images.samples[3].path.write_bytes(b"x")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"does not decode .*; a check .* `data.skip_bad_images`"):
        write_cache(images, tmp_path / "cache", SIZE)
    assert sorted(tmp_path.iterdir()) == before
