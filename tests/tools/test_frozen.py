"""Ways to find parts are compared on kept features."""

import dataclasses
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def frozen(tool, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    module = tool("frozen")
    monkeypatch.setitem(sys.modules, "frozen", module)
    yield module
    for name in ("figures", "tables"):
        sys.modules.pop(name, None)


def test_every_way_differs_from_the_common_one_by_one_or_two_of_its_fields(frozen):
    names = {field.name for field in dataclasses.fields(frozen.Way)}
    assert set(frozen.PLAN["common"]) == names
    assert all(set(changes) <= names for changes in frozen.PLAN["ways"].values())
    assert [way for way, changes in frozen.PLAN["ways"].items() if not changes] != []


def test_ways_are_measured_where_parts_are_and_by_what_they_recognise(frozen, birds, monkeypatch):
    monkeypatch.setattr(frozen, "FOLDS", 2)
    kept = frozen.keep("tiny", None, birds, 64)
    common = frozen.PLAN["common"]
    together, apart = (
        frozen.figures_of(kept, frozen.Way(**common | {"competition": competition}))
        for competition in (0.0, 0.25)
    )
    assert apart["peak_collision_rate"] < together["peak_collision_rate"]
    assert all(0 <= figure <= 1 for figure in apart.values())
