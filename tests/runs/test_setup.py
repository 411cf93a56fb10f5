import pytest

from macnn import distributed
from macnn.config import Settings
from macnn.runs.setup import completed, open_images, with_batch_norm, with_rounds


def settings(**sections):
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    ("backbone", "image_size", "interpolation"),
    [
        ("squeezenet1_0", 224, "bilinear"),
        ("inception_v3", 299, "bilinear"),
        ("efficientnet_v2_s", 384, "bilinear"),
        ("timm/tf_efficientnet_lite0", 224, "bicubic"),
        ("timm/vit_small_patch14_reg4_dinov2", 518, "bicubic"),
    ],
)
def test_images_are_as_the_backbone_knows_them(backbone, image_size, interpolation):
    data = completed(settings(model={"backbone": backbone})).data
    assert (data.image_size, data.interpolation) == (image_size, interpolation)


def test_what_was_given_stays():
    given = {"image_size": 448, "interpolation": "bicubic"}
    data = completed(settings(model={"backbone": "inception_v3"}, data=given)).data
    assert (data.image_size, data.interpolation) == (448, "bicubic")


@pytest.mark.parametrize(
    ("weights", "batch_size", "given", "expected"),
    [
        ("pretrained", 16, None, "eval"),
        ("pretrained", 32, None, "train"),
        ("none", 16, None, "train"),
        ("pretrained", 16, "train", "train"),
        ("none", 64, "eval", "eval"),
    ],
)
def test_batch_norms_of_trained_backbones_keep_their_statistics_in_small_batches(
    weights, batch_size, given, expected
):
    chosen = settings(
        model={"backbone": "resnet18", "weights": weights},
        data={"batch_size": batch_size},
        train={"batch_norm": given},
    )
    assert with_batch_norm(chosen).train.batch_norm == expected


def test_how_batch_norms_train_is_decided_by_what_each_process_sees(monkeypatch):
    chosen = settings(model={"weights": "pretrained"}, data={"batch_size": 128})
    monkeypatch.setattr(distributed, "world_size", lambda: 8)
    assert with_batch_norm(chosen).train.batch_norm == "eval"


def test_finding_parts_decides_nothing_for_the_training_that_follows():
    assert completed(settings()).train.batch_norm is None


@pytest.mark.parametrize(
    ("steps", "epochs", "rounds"), [(19, 2, 24), (85, 2, 9), (375, 2, 8), (85, 1, 18), (0, 2, 5)]
)
def test_many_images_are_seen_fewer_times(steps, epochs, rounds):
    train = settings(train={"epochs": epochs, "rounds": None if steps else 5}).train
    assert train.rounds_of(steps) == rounds


def test_a_run_says_how_many_rounds_it_takes(birds):
    chosen = settings(data={"root": str(birds)})
    assert with_rounds(chosen, open_images(chosen)).train.rounds == 24
