from dataclasses import replace
from itertools import pairwise

import torch

from macnn.evaluation.predictions import Predictions, Scores
from macnn.report.selection import Pair, judge, select


def predictions(labels, guesses, confidence=None, classes=4):
    labels, guesses = torch.tensor(labels), torch.tensor(guesses)
    strength = torch.tensor(confidence or [1.0] * len(labels))
    logits = torch.nn.functional.one_hot(guesses, classes) * strength[:, None]
    return Predictions(
        samples=torch.arange(len(labels)),
        labels=labels,
        scores=Scores(logits, logits[:, None]),
        places=None,
    )


def chosen(found):
    return select(found, judge(found))


def test_the_joint_prediction_counts_whatever_the_classifiers_say_alone():
    found = predictions([0], [0])
    scores = replace(found.scores, logits=torch.tensor([[1.0, 3.0, 0, 0]]))
    verdict = judge(replace(found, scores=scores))
    assert verdict.predicted.tolist() == [1]
    assert verdict.right.tolist() == [False]


def test_wrong_images_come_surest_first():
    found = predictions([0, 0, 0, 0], [1, 0, 2, 3], [1.0, 9.0, 3.0, 2.0])
    assert chosen(found).wrong == [2, 3, 0]
    assert chosen(found).right == [1]


def test_right_images_and_crops_are_spread_evenly():
    found = predictions([0] * 100, [0] * 100)
    assert chosen(found).right == [12, 37, 62, 87]
    gallery = chosen(found).gallery
    assert len(gallery) == 16
    assert {b - a for a, b in pairwise(gallery)} <= {6, 7}


def test_few_images_are_all_shown_once():
    assert chosen(predictions([0, 1], [0, 1])).gallery == [0, 1]


def test_pairs_are_the_most_frequent_confusions_with_their_surest_images():
    found = predictions([0, 0, 0, 1, 1, 2], [1, 1, 0, 1, 0, 2], [1.0, 2.0, 1.0, 5.0, 1.0, 1.0])
    assert chosen(found).pairs == [
        Pair(truth=0, taken=1, count=2, images=3, mistaken=1, example=3),
        Pair(truth=1, taken=0, count=1, images=2, mistaken=4, example=2),
    ]


def test_a_class_without_images_has_no_example():
    (pair,) = chosen(predictions([0], [3])).pairs
    assert pair.example is None


def test_a_class_never_recognised_is_shown_all_the_same():
    pairs = chosen(predictions([0, 1], [1, 2])).pairs
    assert [pair.example for pair in pairs if pair.taken == 1] == [1]


def test_without_classifiers_any_images_are_shown():
    found = replace(predictions([0] * 8, [0] * 8), scores=None)
    assert judge(found) is None
    assert len(chosen(found).right) == 4
    assert (chosen(found).wrong, chosen(found).pairs) == ([], [])
