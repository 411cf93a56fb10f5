import json
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from macnn.errors import DataError
from macnn.evaluation.localisation import Landmarks, keypoint_owners, measure_localisation

BIRD = ("beak", "left eye", "right eye", "tail")


def annotated(images: int, count: int, seed: int = 0) -> Landmarks:
    """Random keypoints in boxes 100 long, with every part centre far away and owner 0."""
    generator = torch.Generator().manual_seed(seed)
    corners = 50 * torch.rand(images, 2, generator=generator)
    keypoints = corners[:, None] + 100 * torch.rand(images, count, 2, generator=generator)
    return Landmarks(
        centres=torch.full((images, count, 2), 1e4),
        keypoints=keypoints,
        visible=torch.ones(images, count, dtype=torch.bool),
        boxes=torch.cat((corners, torch.tensor([100.0, 80.0]).expand(images, 2)), dim=1),
        owners=torch.zeros(images, count, dtype=torch.int64),
    )


def perfect(images: int, count: int, seed: int = 0) -> Landmarks:
    """Part i is exactly on keypoint i, and owns it."""
    split = annotated(images, count, seed)
    return replace(split, centres=split.keypoints, owners=torch.arange(count).expand(images, count))


def beside_eye(offsets: list[float]) -> Landmarks:
    """One part, `offset` box sizes right of the only keypoint "eye", one image per offset."""
    split = annotated(len(offsets), 1)
    shift = torch.tensor([[[100 * offset, 0.0]] for offset in offsets])
    return replace(split, centres=split.keypoints + shift)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_perfect_centres_score_perfectly(count, seed):
    names = [f"mark {i}" for i in range(count)]
    found = measure_localisation(
        perfect(3 * count + 3, count, seed), perfect(4, count, seed + 1), names
    )
    assert (found.pck10, found.pck15, found.nmi, found.ari) == (1, 1, 1, 1)
    assert found.regression_error == pytest.approx(0, abs=1e-9)
    assert [match.landmark for match in found.best] == names


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_permuting_parts_permutes_their_landmarks_only(order):
    def near(split):
        noise = 12 * torch.randn(20, 4, 2, generator=torch.Generator().manual_seed(7))
        return replace(split, centres=split.keypoints + noise)

    plain = near(annotated(20, 4)), near(annotated(20, 4, seed=1))
    shuffled = [replace(split, centres=split.centres[:, list(order)]) for split in plain]
    before, after = measure_localisation(*plain, BIRD), measure_localisation(*shuffled, BIRD)
    assert [m.landmark for m in after.best] == [before.best[i].landmark for i in order]
    assert after.pck10 == pytest.approx(before.pck10)
    assert after.regression_error == pytest.approx(before.regression_error)


def test_pck_counts_centres_within_the_radius_of_the_longer_box_side():
    test = beside_eye([0.0, 0.09, 0.11, 0.14, 0.16])
    found = measure_localisation(beside_eye([0.0]), test, ("eye",))
    assert (found.pck10, found.pck15) == (2 / 5, 4 / 5)
    assert found.best[0].images == 5


def test_pck_leaves_out_images_without_the_keypoint_and_the_share_does_not():
    test = beside_eye([0.0, 0.0, 0.0, 9.0])
    test.visible[1] = False
    test.keypoints[1] = torch.nan
    match = measure_localisation(beside_eye([0.0]), test, ("eye",)).best[0]
    assert (match.images, match.pck15, match.share15) == (3, 2 / 3, 2 / 4)


def test_matches_are_chosen_on_the_training_split():
    train, test = perfect(9, 2), perfect(9, 2, seed=1)
    swapped = replace(test, centres=test.centres.flip(1))
    found = measure_localisation(train, swapped, ("crown", "tail"))
    assert [match.landmark for match in found.one_to_one] == ["crown", "tail"]
    assert found.pck15 == measure_localisation(train, swapped, ("a", "b")).pck15 < 0.5


def test_either_visible_eye_counts_as_the_eye():
    train, test = perfect(12, 4), perfect(4, 4, seed=1)
    # The part sits on the left eye, then the right, then on an eye that is hidden, then on both.
    one_part = replace(test, centres=test.keypoints[:, 1:2].clone())
    one_part.centres[1, 0] = test.keypoints[1, 2]
    test.visible[2, 1] = False
    test.keypoints[2, 2] = test.keypoints[2, 1] + 50
    test.keypoints[3, 2] = test.keypoints[3, 1]
    on_eye = replace(train, centres=train.keypoints[:, 1:2])
    match = measure_localisation(on_eye, one_part, BIRD).best[0]
    assert (match.landmark, match.region, match.images) == ("eye", "head", 4)
    assert match.pck15 == 3 / 4


def test_two_parts_on_the_two_eyes_are_one_landmark_found():
    train, test = perfect(12, 4), perfect(50, 4, seed=1)
    eyes = [replace(split, centres=split.keypoints[:, 1:3]) for split in (train, test)]
    found = measure_localisation(*eyes, BIRD)
    assert sorted({match.landmark for match in found.best}) == ["eye"]
    assert len({match.landmark for match in found.one_to_one}) == 2
    assert found.pck15 < 0.75


def test_regions_are_those_of_each_parts_best_landmark():
    names = ("crown", "left wing", "tail", "antenna")
    found = measure_localisation(perfect(9, 4), perfect(9, 4, seed=1), names)
    assert found.regions == ("head", "legs and tail", "torso and wings")
    assert found.best[3].region is None


def test_parts_beyond_the_landmarks_stay_unmatched():
    train, test = perfect(9, 2), perfect(9, 2, seed=1)
    three = [replace(s, centres=s.centres[:, [0, 1, 1]]) for s in (train, test)]
    found = measure_localisation(*three, ("crown", "tail"))
    assert len(found.one_to_one) == 2
    assert [match.landmark for match in found.best] == ["crown", "tail", "tail"]


def test_landmarks_name_the_part_that_finds_them():
    train, test = perfect(9, 2), perfect(9, 2, seed=1)
    swapped = [replace(s, centres=s.centres.flip(1)) for s in (train, test)]
    found = measure_localisation(*swapped, ("crown", "tail"))
    assert [(match.landmark, match.part) for match in found.landmarks] == [
        ("crown", 2),
        ("tail", 1),
    ]


def test_regression_recovers_a_linear_map_from_all_parts():
    def between(split):
        """A keypoint a quarter of the way from part 1 to part 2, in an image of any placement."""
        ends = split.keypoints
        middle = 0.75 * ends[:, :1] + 0.25 * ends[:, 1:]
        return Landmarks(
            ends, middle, split.visible[:, :1], split.boxes, torch.zeros(len(ends), 1).long()
        )

    found = measure_localisation(
        between(perfect(20, 2)), between(perfect(20, 2, seed=1)), ("breast",)
    )
    assert found.regression_error == pytest.approx(0, abs=1e-6)


def test_regression_error_is_a_fraction_of_the_box():
    # Without information the fit is the training mean: 0.2 and 0.6 of the box, so 0.4.
    def tall(heights):
        images = len(heights)
        return Landmarks(
            centres=torch.zeros(images, 1, 2),
            keypoints=torch.tensor([[[0.0, 50 * height]] for height in heights]),
            visible=torch.ones(images, 1, dtype=torch.bool),
            boxes=torch.tensor([0.0, 0.0, 20.0, 50.0]).expand(images, 4),
            owners=torch.zeros(images, 1, dtype=torch.int64),
        )

    found = measure_localisation(tall([0.2, 0.6]), tall([0.4, 0.9]), ("eye",))
    assert found.regression_error == pytest.approx(0.25)
    assert found.regression_errors == {"eye": pytest.approx(0.25)}


def test_parts_that_coincide_do_not_break_the_regression():
    train, test = perfect(9, 2), perfect(9, 2, seed=1)
    merged = [replace(s, centres=s.centres[:, [0, 0]]) for s in (train, test)]
    single = [replace(s, centres=s.centres[:, [0]]) for s in (train, test)]
    names = ("crown", "tail")
    assert measure_localisation(*merged, names).regression_error == pytest.approx(
        measure_localisation(*single, names).regression_error
    )


def test_nothing_visible_gives_no_figures():
    train, test = perfect(5, 2), perfect(5, 2, seed=1)
    test.visible[:] = False
    found = measure_localisation(train, test, ("crown", "tail"))
    assert (found.pck10, found.regression_error, found.nmi, found.ari) == (None,) * 4
    assert found.values() == {}
    assert [match.share15 for match in found.best] == [0, 0]


def test_a_keypoint_never_seen_in_training_is_neither_matched_nor_predicted():
    train, test = perfect(9, 2), perfect(9, 2, seed=1)
    train.keypoints[:, 0] = train.keypoints[:, 1]
    train.visible[:, 0] = False
    one_part = [replace(split, centres=split.centres[:, 1:]) for split in (train, test)]
    found = measure_localisation(*one_part, ("crown", "tail"))
    assert [match.landmark for match in found.one_to_one] == ["tail"]
    assert found.regression_errors["crown"] is None


def test_result_survives_json_and_logs_flat_figures():
    found = measure_localisation(perfect(9, 2), perfect(9, 2), ("crown", "tail"))
    assert json.loads(json.dumps(asdict(found)))["best"][1]["landmark"] == "tail"
    assert found.values()["best_pck15/part 2"] == 1


def test_an_empty_box_is_a_data_error():
    split = perfect(3, 2)
    boxes = split.boxes.clone()
    boxes[1, 2:] = 0
    with pytest.raises(DataError, match="1 bounding boxes are empty"):
        replace(split, boxes=boxes)


def test_no_image_is_a_data_error():
    with pytest.raises(DataError, match="no annotated images"):
        perfect(0, 2)


def test_splits_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"test\.centres"):
        measure_localisation(perfect(3, 2), perfect(3, 3), ("crown", "tail"))
    with pytest.raises(ValueError, match=r"train\.visible"):
        measure_localisation(perfect(3, 2), perfect(3, 2), ("crown",))


def test_a_keypoint_belongs_to_the_part_with_the_largest_attention_there():
    attention = torch.zeros(1, 2, 2, 4)
    attention[0, 0, 0, 0] = 1
    attention[0, 1, 1, 3] = 1
    keypoints = torch.tensor([[[0.1, 0.2], [0.9, 0.9], [1.5, 1.5]]])
    assert keypoint_owners(attention, keypoints).tolist() == [[0, 1, 1]]


def test_ownership_follows_the_nearer_of_two_peaks():
    attention = torch.tensor([0.6, 0.3, 0.1, 0.0]).repeat(1, 1, 1, 1)
    attention = torch.cat((attention, attention.flip(-1)), dim=1)
    keypoints = torch.tensor([[[0.49, 0.5], [0.51, 0.5]]])
    assert keypoint_owners(attention, keypoints).tolist() == [[0, 1]]
