from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from macnn.data.samples import ImageSet, Sample
from macnn.data.splits import hold_out


def image_set(counts):
    samples = [
        Sample(Path(f"{label}-{i}"), label, "train" if i % 3 else "test")
        for label, count in enumerate(counts)
        for i in range(count)
    ]
    return ImageSet("x", Path(), tuple(samples), tuple(map(str, range(len(counts)))))


counts = st.lists(st.integers(2, 30), min_size=1, max_size=5)


@given(counts, st.floats(0.01, 0.9), st.integers(0, 99))
def test_every_class_keeps_a_training_image_and_gives_one_when_it_has_two(counts, share, seed):
    before = image_set(counts)
    after = hold_out(before, share, seed)
    for label in range(len(counts)):

        def count(images, split, label=label):
            return sum(s.label == label for s in images.split(split).samples)

        had = count(before, "train")
        assert count(after, "train") >= 1
        assert count(after, "train") + count(after, "validation") == had
        assert (count(after, "validation") >= 1) == (had >= 2)


@given(counts, st.integers(0, 99))
def test_the_split_is_decided_by_the_seed_and_leaves_the_test_images_alone(counts, seed):
    before = image_set(counts)
    after = hold_out(before, 0.3, seed)
    assert after == hold_out(before, 0.3, seed)
    assert after.split("test").samples == before.split("test").samples
    assert [s.path for s in after.samples] == [s.path for s in before.samples]


def test_a_share_of_zero_holds_nothing_out():
    assert hold_out(image_set([9]), 0, 0) == image_set([9])
