import json
import math
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from macnn.errors import DataError, NonFiniteError
from macnn.evaluation.metrics import classification_report

NAMES = ("gull", "tern", "auk")

# Two parts, four images of three classes. Summed: gull, tern, tern, auk.
LOGITS = torch.tensor(
    [
        [[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        [[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]],
        [[0.0, 2.0, 0.0], [0.0, 2.0, 0.0]],
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
    ]
)
LABELS = torch.tensor([0, 1, 0, 2])


def test_parts_and_their_sum_are_scored_separately():
    report = classification_report(LOGITS, LABELS, NAMES)
    assert report.images == 4
    assert report.joint.top1 == 0.75
    assert [part.top1 for part in report.parts] == [0.5, 0.5]
    assert report.joint.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))


def test_confusion_has_true_classes_in_rows():
    report = classification_report(LOGITS, LABELS, NAMES)
    assert report.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 1))
    assert report.per_class == (0.5, 1.0, 1.0)


def test_a_class_without_images_has_no_accuracy():
    report = classification_report(LOGITS[:2], LABELS[:2], NAMES)
    assert report.per_class == (1.0, 1.0, None)


def test_top5_counts_the_five_largest_logits():
    logits = torch.arange(8.0).expand(8, 1, 8)
    report = classification_report(logits, torch.arange(8), [str(i) for i in range(8)])
    assert report.joint.top1 == 1 / 8
    assert report.joint.top5 == 5 / 8


def test_there_is_no_top5_of_five_classes():
    logits = torch.eye(5).unsqueeze(1)
    report = classification_report(logits, torch.arange(5), list("abcde"))
    assert report.joint.top5 is None
    assert "top5" not in report.values()


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    # All four images fall into one bin: confidence 0.8 each, three of four right.
    logits = torch.tensor([math.log(4.0), 0.0]).expand(4, 1, 2)
    report = classification_report(logits, torch.tensor([0, 0, 0, 1]), ("a", "b"))
    assert report.calibration_error == pytest.approx(0.8 - 0.75, abs=1e-6)


def test_calibration_is_that_of_the_summed_logits():
    logits = torch.tensor([math.log(2.0), 0.0]).expand(4, 2, 2)
    report = classification_report(logits, torch.tensor([0, 0, 0, 1]), ("a", "b"))
    assert report.calibration_error == pytest.approx(0.8 - 0.75, abs=1e-6)


def test_report_survives_json_and_logs_flat_figures():
    report = classification_report(LOGITS.bfloat16(), LABELS, NAMES)
    assert json.loads(json.dumps(asdict(report)))["joint"]["top1"] == 0.75
    assert report.values()["accuracy/part 2"] == 0.5


@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**31))
def test_permuting_parts_permutes_their_figures_only(order, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-9, 9, (6, 4, 3), generator=generator).float()
    labels = torch.randint(3, (6,), generator=generator)
    before = classification_report(logits, labels, NAMES)
    after = classification_report(logits[:, list(order)], labels, NAMES)
    assert after.parts == tuple(before.parts[i] for i in order)
    assert (after.joint, after.confusion) == (before.joint, before.confusion)


def test_no_images_is_a_data_error():
    with pytest.raises(DataError, match="no images"):
        classification_report(LOGITS[:0], LABELS[:0], NAMES)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(NonFiniteError, match="not finite"):
        classification_report(LOGITS / 0, LABELS, NAMES)


@pytest.mark.parametrize(
    ("logits", "labels", "names", "match"),
    [
        (LOGITS[0], LABELS, NAMES, "part_logits"),
        (LOGITS, LABELS[:3], NAMES, "labels"),
        (LOGITS, LABELS, NAMES[:2], "class_names"),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits, labels, names, match):
    with pytest.raises(ValueError, match=match):
        classification_report(logits, labels, names)


@settings(deadline=None)
@given(seed=st.integers(0, 99), scale=st.floats(0.1, 20))
def test_the_bins_of_reliability_hold_all_images_and_their_gaps_make_the_error(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(50, 2, 3, generator=generator)
    report = classification_report(logits, torch.arange(50) % 3, NAMES)
    filled = [each for each in report.reliability if each.images]
    assert sum(each.images for each in filled) == 50
    error = sum(each.images * abs(each.confidence - each.accuracy) for each in filled) / 50
    assert error == pytest.approx(report.calibration_error, abs=1e-5)
