import time

import pytest
import torch
from torch.testing import assert_close

from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader, unframe
from macnn.data.transforms import geometry
from macnn.errors import DataError
from macnn.stop import Stopped


@pytest.fixture
def loader(birds):
    images = read_cub(birds).split("train")
    return Loader(ImageDataset(images, geometry(32, "squash", "strong"), seed=3), 5, shuffle=True)


def test_an_epoch_visits_every_image_once_in_an_order_of_its_own(loader):
    first, second = (torch.cat([b.samples for b in loader.epoch(n)]).tolist() for n in (0, 1))
    assert sorted(first) == sorted(second) == list(range(len(first)))
    assert first != second
    assert len(loader) == sum(1 for _ in loader.epoch())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_from_an_offset_gives_the_batches_it_would_have_given(loader, workers):
    whole = list(loader.epoch(1))
    other = Loader(loader.dataset, 5, shuffle=True, workers=workers)
    rest = list(other.epoch(1, offset=2))
    assert len(rest) == len(whole) - 2
    for expected, batch in zip(whole[2:], rest, strict=True):
        assert torch.equal(expected.images, batch.images)
        assert torch.equal(expected.samples, batch.samples)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [3, 5, 100])
def test_processes_share_every_batch_and_have_as_many(loader, world_size, batch_size):
    def every(rank, world_size):
        alone = Loader(loader.dataset, batch_size, shuffle=True, rank=rank, world_size=world_size)
        return [(batch.samples.tolist(), batch.total) for batch in alone.epoch(1)]

    each = [every(rank, world_size) for rank in range(world_size)]
    for together in zip(*each, strict=True):
        shares = [samples for samples, _ in together]
        assert all(shares)
        assert {total for _, total in together} == {sum(map(len, shares))}
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    seen = sorted(i for batches in each for samples, _ in batches for i in samples)
    assert seen == list(range(len(loader.dataset.images.samples)))


def test_fewer_images_than_processes_are_refused(loader):
    count = len(loader.dataset.images.samples)
    with pytest.raises(DataError, match=f"{count} images for {count + 1} processes; start fewer"):
        Loader(loader.dataset, 5, rank=0, world_size=count + 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_stops_when_it_should_and_asks_before_every_batch(loader, workers):
    asked = []

    def third():
        asked.append(1)
        return len(asked) == 3

    batches = Loader(loader.dataset, 5, workers=workers, should_stop=third).epoch()
    next(batches)
    next(batches)
    with pytest.raises(Stopped):
        next(batches)


def test_augmentation_differs_from_epoch_to_epoch_and_leaves_the_global_generator_alone(loader):
    state = torch.get_rng_state()
    first, second = loader.dataset[0, 0], loader.dataset[1, 0]
    list(loader.epoch())
    assert not torch.equal(first.images, second.images)
    assert torch.equal(torch.get_rng_state(), state)


def test_only_the_time_spent_on_making_batches_counts_as_waiting(loader):
    batches = loader.epoch()
    next(batches)
    waited = loader.waited
    assert waited > 0
    time.sleep(0.2)  # what training would do
    next(batches)
    assert waited < loader.waited < waited + 0.2


@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
@pytest.mark.parametrize("augment", ["none", "flip", "strong"])
def test_the_frame_maps_a_marked_pixel_back_to_where_it_was(tmp_path, mode, augment):
    from dataclasses import replace
    from pathlib import Path

    from PIL import Image

    from macnn.data.samples import ImageSet, Sample

    file = tmp_path / "dot.png"
    picture = Image.new("RGB", (120, 90))
    picture.paste((255, 255, 255), (56, 46, 64, 54))  # centre (60, 50)
    picture.save(file)
    images = ImageSet("dot", Path(), (Sample(file, 0, "train"),), ("dot",))
    photographs = ImageDataset(images, geometry(64, mode, augment), seed=0)
    seen = 0
    for epoch in range(8):
        batch = replace(photographs)[epoch, 0]
        light = batch.images[0].float().mean(0)
        if light.max() < 128:
            continue  # cropped away
        rows, columns = torch.where(light > light.max() / 2)
        if {0, 63} & set(rows.tolist() + columns.tolist()):
            continue  # cut by the border
        centre = torch.stack((columns.float().mean(), rows.float().mean())) + 0.5
        back = unframe(centre.view(1, 1, 2), batch.frames)[0, 0]
        assert_close(back, torch.tensor([60.0, 50.0]), atol=2.0, rtol=0)
        seen += 1
    assert seen >= 3
