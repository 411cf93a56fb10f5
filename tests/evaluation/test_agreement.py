import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from macnn.evaluation.agreement import agreement

labellings = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=40)


@settings(deadline=None)
@given(labellings)
def test_agrees_with_scikit_learn(items):
    first, second = torch.tensor(items).T
    nmi, ari = agreement(first, second)
    assert nmi == pytest.approx(normalized_mutual_info_score(first, second), abs=1e-9)
    assert ari == pytest.approx(adjusted_rand_score(first, second), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.permutations(range(5)))
def test_equal_labellings_under_other_names_agree_fully(labels, names):
    first = torch.tensor(labels)
    assert agreement(first, torch.tensor(names)[first]) == pytest.approx((1.0, 1.0))


def test_one_label_for_everything_tells_nothing():
    assert agreement(torch.zeros(6, dtype=torch.int64), torch.arange(6) % 3) == (0.0, 0.0)


def test_large_sets_do_not_overflow():
    second = torch.arange(90_000) % 15
    first = torch.where(torch.arange(90_000) % 7 < 3, second % 2, 0)
    _, ari = agreement(first, second)
    assert ari == pytest.approx(adjusted_rand_score(first, second), abs=1e-9)


def test_labellings_of_different_length_are_refused():
    with pytest.raises(ValueError, match="second"):
        agreement(torch.tensor([0, 1]), torch.tensor([0]))
