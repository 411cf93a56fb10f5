import pytest
import torch
from torch import nn

from macnn.data.loaders import Batch
from macnn.data.samples import ImageSet, Sample
from macnn.errors import NonFiniteError
from macnn.training.train_step import TrainStep


@pytest.fixture
def images(tmp_path):
    samples = tuple(Sample(tmp_path / f"{i}.jpg", 0, "train") for i in range(6))
    return ImageSet("six", tmp_path, samples, ("one",))


def batch(values):
    count = len(values)
    samples = torch.arange(count)
    frames = torch.zeros(count, 2, 2)
    return Batch(torch.tensor(values), torch.zeros(count), samples, frames, total=count)


def stepped(images, values, *, steps=1, scale_loss=False, grad_accum_steps=1, clip_grad_norm=0.0):
    """A weight after steps on the mean of weight x value, and the train_step."""
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], lr=1.0, fused=True)
    train_step = TrainStep(
        torch.device("cpu"),
        grad_accum_steps=grad_accum_steps,
        clip_grad_norm=clip_grad_norm,
        scale_loss=scale_loss,
        describe=lambda samples: ", ".join(str(images.samples[i].path) for i in samples.tolist()),
    )
    for number in range(1, steps + 1):
        optimiser.zero_grad()
        given = batch(values(number) if callable(values) else values)
        for part in train_step.micro_batches(number, given, nn.Identity()):
            train_step.backward((weight * part.images).mean(), part)
        train_step.update(optimiser)
    return weight.item(), train_step


@pytest.mark.parametrize("grad_accum_steps", [1, 2, 4, 9])
def test_a_batch_in_pieces_gives_the_step_of_the_whole(images, grad_accum_steps):
    weight, _ = stepped(images, [0.1, 0.2, 0.3, 0.1, 0.8], grad_accum_steps=grad_accum_steps)
    assert weight == pytest.approx(1 - 0.3)


def test_a_long_gradient_is_cut_to_its_largest_norm(images):
    assert stepped(images, [4.0], clip_grad_norm=0.5)[0] == pytest.approx(0.5)
    assert stepped(images, [0.4], clip_grad_norm=0.5)[0] == pytest.approx(0.6)


def test_scaling_the_loss_changes_nothing_in_range_and_skips_a_step_out_of_range(images):
    assert stepped(images, [0.25], scale_loss=True)[0] == pytest.approx(0.75)
    weight, train_step = stepped(images, [1e38], scale_loss=True)  # infinite once scaled
    assert weight == 1
    train_step.check()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_from_the_first_bad_step_on_nothing_changes_and_the_step_is_named(images, bad):
    weight, train_step = stepped(images, lambda n: [0.1, bad if n == 3 else 0.1], steps=5)
    assert weight == pytest.approx(0.8)
    with pytest.raises(NonFiniteError, match=r"at step 3, on .*0\.jpg, .*1\.jpg"):
        train_step.check()
