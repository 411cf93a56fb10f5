import torch

from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.training.grouping_batches import GroupingBatches


def source(birds, rank=0, world_size=1, mirror=True, seed=1):
    dataset = ImageDataset(read_cub(birds).split("train"), geometry(32, "squash"), seed=seed)
    loader = Loader(dataset, 4, rank=rank, world_size=world_size)
    return GroupingBatches(loader, mirror, torch.device("cpu"))


def test_position_decides_what_is_drawn_wherever_a_phase_began(birds):
    whole = list(source(birds).batches(0, 6))
    for start in range(6):
        for batch, expected in zip(
            source(birds).batches(start, 6 - start), whole[start:], strict=True
        ):
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.samples, expected.samples)


def test_every_image_is_drawn_once_before_any_comes_again(birds):
    grouping = source(birds)
    count = len(grouping.loader.dataset.images.samples)
    for epoch in range(3):
        indices, _ = grouping.draw(epoch * count, count)
        assert sorted(indices.tolist()) == list(range(count))


def test_another_seed_or_epoch_draws_in_another_order(birds):
    count = len(source(birds).loader.dataset.images.samples)
    drawn = [source(birds).draw(0, count), source(birds, seed=2).draw(0, count)]
    drawn.append(source(birds).draw(count, count))
    orders, coins = ({tuple(d[i].tolist()) for d in drawn} for i in (0, 1))
    assert len(orders) == len(coins) == 3


def test_processes_share_the_images(birds):
    drawn = [source(birds, rank, 2) for rank in range(2)]
    count = len(drawn[0].loader.dataset.images.samples)
    shares = [set(each.draw(0, count // 2)[0].tolist()) for each in drawn]
    assert not shares[0] & shares[1]
    batch = next(iter(drawn[1].batches(0, 1)))
    assert (len(batch.samples), batch.total) == (2, 4)


def test_about_half_of_the_draws_are_mirrored_or_none(birds):
    _, mirrored = source(birds).draw(0, 400)
    assert 150 < mirrored.sum() < 250
    assert not source(birds, mirror=False).draw(0, 400)[1].any()
    _, chosen = source(birds).draw(0, 4)
    plain, flipped = (next(iter(source(birds, mirror=m).batches(0, 1))) for m in (False, True))
    expected = torch.where(chosen[:, None, None, None], plain.images.flip(3), plain.images)
    assert torch.equal(flipped.images, expected)
