"""Keypoints from points by linear regression, and from no parts at all."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler

from macnn.evaluation.regression import Points, mean_error, measure_references, regression_errors


def split(images, points=2, keypoints=3, seed=0, shown=0.7, there=0.7):
    """Random points and keypoints, some of them not there."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return Points(
        points=draw(images, points, 2),
        there=draw(images, points) < there,
        targets=draw(images, keypoints, 2),
        visible=draw(images, keypoints) < shown,
        middle=torch.full((images, 2), 0.5, dtype=torch.float64),
    )


def by_scikit_learn(train, test):
    """Standardise, absent ones to 0, no intercept: as PDiscoNet and PDiscoFormer fit it."""
    errors = []
    for k in range(train.targets.shape[1]):
        rows, measured = train.visible[:, k].numpy(), test.visible[:, k].numpy()
        points = StandardScaler().fit(train.points.flatten(1).numpy()[rows])
        targets = StandardScaler().fit(train.targets[:, k].numpy()[rows])
        seen, unseen = (
            np.where(
                s.there.repeat_interleave(2, 1), points.transform(s.points.flatten(1).numpy()), 0
            )
            for s in (train, test)
        )
        fit = LinearRegression(fit_intercept=False)
        fit.fit(seen[rows], targets.transform(train.targets[:, k].numpy()[rows]))
        found = targets.inverse_transform(fit.predict(unseen[measured]))
        truth = test.targets[:, k].numpy()[measured]
        errors += np.linalg.norm(found - truth, axis=1).tolist()
    return sum(errors) / len(errors)


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_agrees_with_scikit_learn_where_points_are_missing(seed):
    train, test = split(40, seed=seed), split(20, seed=seed + 1)
    expected = by_scikit_learn(train, test)
    assert mean_error(regression_errors(train, test)) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_a_point_that_is_never_there_does_not_move_the_error(seed):
    train, test = split(40, points=3, seed=seed), split(20, points=3, seed=seed + 1)
    for each in (train, test):
        each.there[:, 2] = False
    without = [s._replace(points=s.points[:, :2], there=s.there[:, :2]) for s in (train, test)]
    errors = [regression_errors(*pair) for pair in ((train, test), without)]
    torch.testing.assert_close(*errors, equal_nan=True)


def test_points_that_never_move_give_the_error_of_the_mean_keypoint():
    train, test = split(40), split(20, seed=1)
    still = [s._replace(points=torch.ones_like(s.points)) for s in (train, test)]
    reference = measure_references(train, test, "abc")
    assert mean_error(regression_errors(*still)) == pytest.approx(reference.mean_landmark)


def test_references_of_a_single_keypoint():
    """In training at 0.2 and 0.6 of the box, so 0.4 in the mean; then at 0.5 and 0.8."""

    def one(heights):
        targets = torch.tensor([[[0.5, height]] for height in heights], dtype=torch.float64)
        shown = torch.ones(len(heights), 1, dtype=torch.bool)
        middle = torch.full((len(heights), 2), 0.5, dtype=torch.float64)
        return Points(targets, shown, targets, shown, middle)

    found = measure_references(one([0.2, 0.6]), one([0.5, 0.8]), ["eye"])
    assert found.mean_landmark == pytest.approx((0.1 + 0.4) / 2)
    assert found.box_centre == pytest.approx((0.0 + 0.3) / 2)
    assert found.one_landmark == pytest.approx(0, abs=1e-9)


def test_the_one_landmark_is_the_throat_or_the_one_seen_most():
    train, test = split(40), split(20, seed=1)
    train.visible[:, 1] = True
    assert measure_references(train, test, ["eye", "beak", "throat"]).landmark == "throat"
    assert measure_references(train, test, ["eye", "beak", "crown"]).landmark == "beak"
    train.visible[:, 2] = False
    assert measure_references(train, test, ["eye", "beak", "throat"]).landmark == "beak"


def test_where_the_one_landmark_is_hidden_keypoints_are_at_their_mean():
    train, test = split(40, shown=1), split(20, seed=1, shown=1)
    test.visible[:, 2] = False
    test.targets[:, 2] = torch.nan
    found = measure_references(train, test, ["eye", "beak", "throat"])
    assert found.one_landmark == pytest.approx(found.mean_landmark)


def test_without_visible_keypoints_there_are_no_references():
    train, test = split(40, shown=0), split(20, seed=1)
    assert measure_references(train, test, "abc") is None
    nothing = measure_references(test, train, "abc")
    assert (nothing.box_centre, nothing.mean_landmark, nothing.one_landmark) == (None,) * 3
