import copy
import operator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from macnn import events
from macnn.config.training import TrainSettings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import CheckpointError
from macnn.model import MACNN, PartCNN, PartLocator, PooledClassifier, create_backbone
from macnn.training.alternation import Alternation
from macnn.training.discovery import ChannelStatistics, Seen
from macnn.training.epochs import PooledTraining, StreamTraining
from macnn.training.grouping_batches import GroupingBatches
from macnn.training.saved import fitting
from macnn.training.trainer import RoundEnd, Step

ODD = ({}, [], "", "x", -1, 2**200, 1e300, float("nan"), float("inf"), None, 0.5)
STATES = ("grouping", "convolution", "baseline", "averaged", "scaled", "streams")


def trainer(birds, kind):
    """A training of this kind, nothing trained yet: two rounds of two grouping steps and epochs."""
    torch.manual_seed(0)
    images = replace(read_cub(birds), samples=read_cub(birds).split("train").samples[:8])
    loader = Loader(ImageDataset(images, geometry(32, "squash", "flip"), seed=1), 4, shuffle=True)
    settings = TrainSettings(
        rounds=2, epochs=1, grouping_steps=2, ema=0.9 if kind == "averaged" else 0
    )
    epochs = {"rounds": 2, "epochs": 1}
    backbone = create_backbone("tiny")
    backbone.body = nn.Sequential(backbone.body, nn.Dropout(0.1))  # steps draw random numbers
    if kind == "baseline":
        pooled = PooledClassifier(backbone, 16, image_size=32)
        return PooledTraining(pooled, loader, settings, events.silent, **epochs)
    model = MACNN(backbone, 2, 16, hidden=4, image_size=32)
    if kind == "streams":
        sizes = {"image_size": 32, "stream_size": 32, "part_share": 0.25}
        streams = PartCNN(model, **sizes, object_threshold=0.5, shared=True)
        return StreamTraining(streams, loader, settings, events.silent, **epochs)
    if kind == "scaled":
        backbone.compute_dtype = torch.float16
    grouping = GroupingBatches(loader, mirror=False, device=torch.device("cpu"))
    return Alternation(model, loader, grouping, settings, events.silent, unaugmented=loader)


def load(holder, state, origin="run"):
    """Go on from a state as a run does."""
    with fitting(origin):
        holder.load_state_dict(state)


@pytest.fixture(scope="module")
def saved(birds):
    """The tensors and the facts of a training in the middle of a phase, `saved(kind)`."""
    states = {}

    def state(kind):
        if kind not in states:
            last = 1 if kind in ("grouping", "baseline", "streams") else 3
            training = trainer(birds, kind)
            next(each for each in training.steps() if each == Step(last))
            states[kind] = copy.deepcopy(training.state_dict())
        every = states[kind].items()
        tensors = {name: value for name, value in every if isinstance(value, torch.Tensor)}
        return tensors, copy.deepcopy({n: v for n, v in every if n not in tensors})

    return state


@pytest.mark.parametrize("kind", STATES)
def test_a_state_is_taken_whole(birds, saved, kind):
    tensors, facts = saved(kind)
    assert facts["position"]["done"] == 1
    training = trainer(birds, kind)
    load(training, tensors | facts)
    again = training.state_dict()
    assert again.keys() == tensors.keys() | facts.keys()
    assert all(again[name] == fact for name, fact in facts.items())
    assert all(torch.equal(again[name], value) for name, value in tensors.items())
    list(training.steps())
    assert training.finished


@pytest.mark.parametrize("kind", ["grouping", "averaged", "scaled", "baseline", "streams"])
def test_from_wherever_it_is_broken_off_a_training_goes_on_to_the_same_state(birds, kind):
    def state(training):
        return copy.deepcopy(training.averaged_model.state_dict() | training.state_dict())

    def further(training):
        return (each for each in training.steps() if not isinstance(each, RoundEnd))

    whole = trainer(birds, kind)
    weights = whole.averaged_model.state_dict().keys()
    states = [state(whole), *(state(whole) for _ in further(whole))]
    for now, after in pairwise(states):
        again = trainer(birds, kind)
        again.model.load_state_dict({name: now[name] for name in weights})
        again.load_state_dict({name: v for name, v in now.items() if name not in weights})
        next(further(again))
        reached = state(again)
        assert reached.keys() == after.keys()
        for name, value in reached.items():
            same = torch.equal if isinstance(value, torch.Tensor) else operator.eq
            assert same(value, after[name]), (after["position"], name)


def changed(value):
    """The same tensor in ways that no training saves it."""
    yield value.bool()
    yield value.to(torch.float16 if value.dtype != torch.float16 else torch.float32)
    yield value.flatten()[:0]
    yield value.unsqueeze(0)
    yield value.new_zeros(())[None, None]
    if value.is_floating_point():
        yield torch.full_like(value, torch.nan)
        yield torch.full_like(value, -torch.inf)


@pytest.mark.parametrize("kind", STATES)
def test_every_tensor_must_be_there_and_fit(birds, saved, kind):
    training = trainer(birds, kind)
    before = {name: value.clone() for name, value in training.model.state_dict().items()}
    tensors, facts = saved(kind)
    kinds = {(name.split(".")[0], name.split(".")[-1]): name for name in tensors}
    for name, value in ((name, tensors[name]) for name in kinds.values()):
        for other in changed(value):
            with pytest.raises(CheckpointError, match=r"^run: its training state does not fit \("):
                load(training, tensors | {name: other} | facts)
        rest = {key: v for key, v in tensors.items() if key != name}
        for other in (rest, rest | {f"{name}x": value}):
            with pytest.raises(CheckpointError, match=r"^run: its training state does not fit \("):
                load(training, other | facts)
    assert all(torch.equal(before[n], v) for n, v in training.model.state_dict().items())
    assert training.position.step == 0
    assert training.meters.sums == {}


@pytest.mark.parametrize("kind", STATES)
def test_every_fact_must_be_there_and_fit(birds, saved, kind):
    training = trainer(birds, kind)
    tensors, facts = saved(kind)
    places = [(facts, "position"), *((facts["position"], name) for name in facts["position"])]
    places += [
        (facts["scaler"], name) for name in facts["scaler"] if name in ("scale", "_growth_tracker")
    ]
    places += [(facts, "scaler")] if facts["scaler"] else []
    for holder, name in places:
        right = holder[name]
        for odd in ODD:
            if odd == right or (name, odd) == ("scale", 0.5):
                continue
            holder[name] = odd
            with pytest.raises(CheckpointError, match=r"^run: its training state does not fit \("):
                load(training, tensors | facts)
        holder[name] = right
    with pytest.raises(CheckpointError, match="does not fit"):
        load(training, tensors)
    with pytest.raises(CheckpointError, match="is missing"):
        load(training, facts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "dreaming"}, "there is no phase 'dreaming'"),
        ({"phase": "validation"}, r"step 1 of 0"),
        ({"round": 3}, "in round 3 of 2"),
        ({"done": 99}, "step 99 of 3 in round 0 of 2"),
        ({"losses": []}, "0 losses of 1 phases"),
        ({"losses": [1.0, 1.0]}, "2 losses of 1 phases"),
        ({"done": 0}, "'meters.*' is none of its tensors"),
        ({"phase": "grouping", "losses": []}, "'meters.*' is none of its tensors"),
        ({"further": 1}, "position: further"),
    ],
)
def test_a_position_the_training_does_not_come_by_is_refused(birds, saved, change, message):
    tensors, facts = saved("convolution")
    facts["position"] |= change
    with pytest.raises(CheckpointError, match=message):
        load(trainer(birds, "convolution"), tensors | facts)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e200])
def test_sums_over_no_images_or_out_of_range_are_refused(birds, saved, value):
    tensors, facts = saved("convolution")
    for name in ("meters.cls", "meters./attention"):
        wrong = tensors[name].clone()
        wrong[0, -1] = value
        mean = name.removeprefix("meters.")
        with pytest.raises(CheckpointError, match=f"'{mean}' is no sum over images"):
            load(trainer(birds, "convolution"), tensors | {name: wrong} | facts)


def statistics(images):
    """Statistics of no image yet, and the state after some images in batches of two."""
    begun = ChannelStatistics.begin(PartLocator(create_backbone("tiny"), 2, image_size=32))
    channels = len(begun.dead)
    tensors = {
        "gram": torch.full((channels, channels), 2 * images),
        "dead": torch.zeros(channels, dtype=torch.int64),
        "pooled": torch.ones(images, channels),
        "samples": torch.arange(images),
        "squares": torch.ones(1, 2, dtype=torch.float64),
    }
    return begun, tensors, {"images": images, "batches": images // 2}


@pytest.mark.parametrize("images", [0, 6])
def test_statistics_are_taken_whole(images):
    begun, tensors, facts = statistics(images)
    load(begun, tensors | facts)
    again = begun.state_dict()
    assert again.keys() == tensors.keys() | facts.keys()
    assert all(again[name] == fact for name, fact in facts.items())
    assert all(torch.equal(again[name], value) for name, value in tensors.items())


def test_every_part_of_statistics_must_be_there_and_fit():
    begun, tensors, facts = statistics(6)
    refused = {"match": r"^run: its training state does not fit \("}
    for name, value in tensors.items():
        for other in (*changed(value), -value - 1):
            alike = other.shape == value.shape and other.dtype == value.dtype
            if name in ("samples", "pooled") and alike and other.isfinite().all():
                continue  # any features of any images
            with pytest.raises(CheckpointError, **refused):
                load(begun, tensors | {name: other} | facts)
        with pytest.raises(CheckpointError, **refused):
            load(begun, {key: v for key, v in tensors.items() if key != name} | facts)
    for name in Seen.model_fields:
        for odd in (*ODD, 0, 7, 10**9):
            if (name, odd) != ("images", 7):
                with pytest.raises(CheckpointError, **refused):
                    load(begun, tensors | facts | {name: odd})
    far = tensors["gram"].clone()
    far[0, 1] += 1
    with pytest.raises(CheckpointError, match="it is not of 6 images"):
        load(begun, tensors | {"gram": far} | facts)
    assert begun.images == 0
