import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from macnn import events
from macnn.config.training import TrainSettings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import CheckpointError
from macnn.files import temporary_path
from macnn.model import Network, NetworkSpec, PartCNNSpec, build_part_cnn
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.training.alternation import Alternation
from macnn.training.discovery import ChannelStatistics, Seen
from macnn.training.streams import StreamTraining

ODD = ({}, [], "", "x", -1, 2**200, 1e300, float("nan"), float("inf"), None, 0.5)
STATES = ("grouping", "convolution", "baseline", "averaged", "scaled", "streams")


class StopError(Exception):
    pass


def trainer(birds, kind, after_step=lambda: None):
    """A training of this kind, nothing trained yet: two rounds of two grouping steps and epochs."""
    torch.manual_seed(0)
    images = replace(read_cub(birds), samples=read_cub(birds).split("train").samples[:8])
    loader = Loader(ImageDataset(images, geometry(32, "squash", "flip"), seed=1), 4, shuffle=True)
    parts = 0 if kind == "baseline" else 2
    spec = NetworkSpec("tiny", None, 32, parts, 16, hidden=4)
    settings = TrainSettings(
        rounds=2, epochs=1, grouping_steps=2, ema=0.9 if kind == "averaged" else 0
    )
    if kind == "streams":
        seen = {"locator_size": 32, "stream_size": 32, "part_share": 0.25}
        more = PartCNNSpec(**vars(spec), **seen, object_threshold=0.5, shared=True)
        return StreamTraining(
            build_part_cnn(more),
            loader,
            settings,
            events.silent,
            epochs=2,
            after_step=after_step,
            validate=lambda: None,
        )
    network = Network(spec, Backbone(BackboneSpec("tiny")))
    if kind == "scaled":
        network.backbone.compute_dtype = torch.float16
    return Alternation(
        network,
        loader,
        loader,
        settings,
        events.silent,
        scratch=temporary_path(Path("nowhere")),
        mirrors=False,
        after_step=after_step,
        validate=lambda: None,
    )


@pytest.fixture(scope="module")
def saved(birds):
    """The state of a training in the middle of a phase, `saved(kind)`."""
    states = {}

    def state(kind):
        if kind not in states:
            last = 1 if kind in ("grouping", "baseline", "streams") else 3

            def stop():
                if training.position.step == last:
                    raise StopError

            training = trainer(birds, kind, stop)
            with pytest.raises(StopError):
                training.run()
            states[kind] = copy.deepcopy(training.state())
        tensors, facts = states[kind]
        return dict(tensors), copy.deepcopy(facts)

    return state


@pytest.mark.parametrize("kind", STATES)
def test_a_state_is_taken_whole(birds, saved, kind):
    tensors, facts = saved(kind)
    assert facts["position"]["done"] == 1
    training = trainer(birds, kind)
    training.load(tensors, facts, "run")
    again, then = training.state()
    assert then == facts
    assert again.keys() == tensors.keys()
    if kind != "averaged":  # the network has not been given the averages here
        assert all(torch.equal(again[name], value) for name, value in tensors.items())
    training.run()
    assert training.finished


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
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    tensors, facts = saved(kind)
    kinds = {(name.split(".")[0], name.split(".")[-1]): name for name in tensors}
    for name, value in ((name, tensors[name]) for name in kinds.values()):
        for other in changed(value):
            with pytest.raises(CheckpointError, match=r"^run: its training state does not fit \("):
                training.load(tensors | {name: other}, facts, "run")
        rest = {key: v for key, v in tensors.items() if key != name}
        for other in (rest, rest | {f"{name}x": value}):
            with pytest.raises(CheckpointError, match=r"^run: its training state does not fit \("):
                training.load(other, facts, "run")
    assert all(torch.equal(before[n], v) for n, v in training.network.state_dict().items())
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
                training.load(tensors, facts, "run")
        holder[name] = right
    with pytest.raises(CheckpointError, match="does not fit"):
        training.load(tensors, {}, "run")
    with pytest.raises(CheckpointError, match="is missing"):
        training.load({}, facts, "run")


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
        trainer(birds, "convolution").load(tensors, facts, "run")


@pytest.mark.parametrize("value", [0.0, -1.0, 1e200])
def test_sums_over_no_images_or_out_of_range_are_refused(birds, saved, value):
    tensors, facts = saved("convolution")
    for name in ("meters.cls", "meters./attention"):
        wrong = tensors[name].clone()
        wrong[0, -1] = value
        mean = name.removeprefix("meters.")
        with pytest.raises(CheckpointError, match=f"'{mean}' is no sum over images"):
            trainer(birds, "convolution").load(tensors | {name: wrong}, facts, "run")


def survey(images):
    """A survey of four channels, and its state after some images in batches of two."""
    network = Network(NetworkSpec("tiny", None, 32, 2), Backbone(BackboneSpec("tiny")))
    begun = ChannelStatistics.begin(network)
    tensors, _ = begun.state()
    channels = len(begun.dead)
    tensors |= {
        "gram": torch.full((channels, channels), 2 * images),
        "pooled": torch.ones(images, channels),
        "samples": torch.arange(images),
        "squares": torch.ones(1, dtype=torch.float64),
    }
    return begun, tensors, {"images": images, "batches": images // 2}


@pytest.mark.parametrize("images", [0, 6])
def test_a_survey_is_taken_whole(images):
    begun, tensors, facts = survey(images)
    begun.load(tensors, facts, "run")
    assert begun.state()[1] == facts
    assert all(torch.equal(begun.state()[0][name], value) for name, value in tensors.items())


def test_every_part_of_a_survey_must_be_there_and_fit():
    begun, tensors, facts = survey(6)
    refused = {"match": r"^run: its training state does not fit \("}
    for name, value in tensors.items():
        for other in (*changed(value), -value - 1):
            alike = other.shape == value.shape and other.dtype == value.dtype
            if name in ("samples", "pooled") and alike and other.isfinite().all():
                continue  # any features of any images
            with pytest.raises(CheckpointError, **refused):
                begun.load(tensors | {name: other}, facts, "run")
        with pytest.raises(CheckpointError, **refused):
            begun.load({key: v for key, v in tensors.items() if key != name}, facts, "run")
    for name in Seen.model_fields:
        for odd in (*ODD, 0, 7, 10**9):
            if (name, odd) != ("images", 7):
                with pytest.raises(CheckpointError, **refused):
                    begun.load(tensors, facts | {name: odd}, "run")
    far = tensors["gram"].clone()
    far[0, 1] += 1
    with pytest.raises(CheckpointError, match="it is not of 6 images"):
        begun.load(tensors | {"gram": far}, facts, "run")
    assert begun.images == 0
