"""MA-CNN in code of one's own: no settings, no run folder, no command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import macnn
from macnn.errors import UsageError

HERE = Path(__file__).parent


def run(*command):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_bare_loop_learns_and_its_state_dict_answers_to_the_same_bit_elsewhere(tmp_path):
    assert len((HERE / "loop.py").read_text(encoding="utf-8").splitlines()) < 60
    trained = run(HERE / "loop.py", tmp_path / "model.pt")
    assert trained.returncode == 0, trained.stderr
    reloaded = run(HERE / "reload.py", tmp_path / "model.pt")
    assert reloaded.returncode == 0, reloaded.stderr


def test_two_processes_train_one_model_under_ddp(tmp_path):
    started = run(
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        HERE / "ddp.py",
        tmp_path / "accuracy.pt",
    )
    assert started.returncode == 0, started.stderr
    images, accuracy = torch.load(tmp_path / "accuracy.pt")
    assert images == 64
    assert accuracy > 0.9


def backbone(channels=8):
    return nn.Sequential(nn.Conv2d(3, channels, 4, 4), nn.ReLU())


def model(parts=2, classes=2, **more):
    torch.manual_seed(0)
    return macnn.MACNN(backbone(), parts, classes, image_size=16, **more)


def images(count=8):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def loader(count=8):
    return DataLoader(TensorDataset(images(count), torch.arange(count) % 2), 4)


def test_training_by_one_call_improves_the_loss_and_tells_of_every_phase():
    classifier = model()
    macnn.find_parts(classifier, loader())
    metrics = macnn.train(
        classifier, loader(), rounds=4, epochs=2, grouping_steps=2, lr=0.1, warmup=0
    )
    assert [m.phase for m in metrics] == ["grouping", "convolution"] * 4
    losses = [m.values["cls"] for m in metrics if m.phase == "convolution"]
    assert losses[-1] < losses[0]


def test_the_baseline_trains_by_the_same_call():
    pooled = macnn.PooledClassifier(backbone(), 2, image_size=16)
    metrics = macnn.train(pooled, loader(), rounds=2, epochs=1)
    assert [m.phase for m in metrics] == ["convolution"] * 2
    assert macnn.evaluate(pooled, loader()).attention is None


def test_parts_are_located_in_pixels_of_the_images():
    classifier = model()
    macnn.find_parts(classifier, loader())
    centres, boxes = macnn.localise(classifier, images())
    assert centres.shape == (8, 2, 2)
    assert ((centres >= 0) & (centres <= 16)).all()
    assert torch.allclose((boxes[..., :2] + boxes[..., 2:]) / 2, centres, atol=1e-4)


def test_modes_of_a_model_stay_as_they_were():
    classifier = model().train()
    macnn.find_parts(classifier, loader())
    macnn.evaluate(classifier, loader())
    macnn.localise(classifier, images())
    assert classifier.training


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: macnn.find_parts(model(), []), "`batches`: no images"),
        (lambda: macnn.find_parts(model(), iter(loader())), "a generator gives them once"),
        (lambda: macnn.find_parts(model(), [torch.rand(2, 3, 32, 32)]), "`image_size` 16"),
        (lambda: macnn.find_parts(model(), ["wren.jpg"]), "`batches`: images str"),
        (lambda: macnn.train(model(), []), "`batches`: no length, or empty"),
        (lambda: macnn.train(model(), [(images(), torch.full((8,), 2))]), "expected 0 to 1"),
        (lambda: macnn.train(model(), [images()]), "`batches`: labels NoneType"),
        (lambda: macnn.train(model(), loader(), lr=0.0), "lr"),
        (lambda: macnn.train(model(), loader(), learning_rate=0.1), "learning_rate"),
        (lambda: macnn.train(model(), loader(), anchor_weight=1.0), "`anchor_weight`"),
        (lambda: macnn.evaluate(model(), [(images(), torch.full((8,), -1))]), "-1 to -1"),
        (lambda: macnn.localise(model(), torch.rand(1, 3, 8, 8)), "expected \\(B, 3, 16, 16\\)"),
        (lambda: model(parts=9), "`backbone`: 8 channels for 9 parts"),
        (lambda: model(parts=0), "`parts`: 0"),
        (lambda: model(classes=0), "`classes`: 0"),
        (lambda: macnn.MACNN(nn.Flatten(), 2, 2), "`backbone`: its output"),
    ],
)
def test_bad_arguments_are_a_value_error_that_names_them(call, message):
    with pytest.raises(ValueError, match=message) as refused:
        call()
    assert isinstance(refused.value, UsageError)
    assert "\n" not in str(refused.value)


def test_the_package_offers_what_it_says():
    for name in macnn.__all__:
        assert getattr(macnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'locate'"):
        _ = macnn.locate


def test_batch_norms_that_were_frozen_stay_frozen():
    frozen = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
    frozen[1].eval()
    classifier = macnn.MACNN(frozen, 2, 2, image_size=16)
    macnn.find_parts(classifier, loader())
    macnn.evaluate(classifier, loader())
    assert classifier.training
    assert not frozen[1].training
