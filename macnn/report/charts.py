"""The geometry of the diagrams of a page; `templates/charts.html` draws it as SVG.

Lengths are in units of the drawing, from its top left corner. Colours are CSS, so that a diagram
follows the theme of the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from macnn.bounds import PARTS
from macnn.evaluation.metrics import ReliabilityBin
from macnn.plotting import MaxNLocator, default_style
from macnn.report.style import readable

WIDTH, HEIGHT = 320, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 10, 26
_NAMED, _LETTERS = 40, 50  # classes that can be named beside a matrix, and letters of a name

LEARNING = {
    "accuracy": "Accuracy",
    "loss": "Loss",
    "cls": "L_cls, summed over classifiers",
    "cng": "L_cng",
    "anchor": "Distance from the anchors",
}
"""Figures of metrics.jsonl about losses and accuracy, with their titles."""

STATE = {
    "diversity": "Div, overlap less the margin",
    "distance_fraction": "Dis, spread around the peak",
    "relative_entropy": "Entropy, 1 is a uniform map",
    "peak_distance": "Distance between peaks",
    "peak_collision_rate": "Peak collision rate",
}
"""Figures of metrics.jsonl about the parts, with their titles."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Line:
    """A polyline, and its last value as text."""

    label: str
    colour: str
    dashed: bool
    points: list[tuple[float, float]]
    last: str


@dataclass(frozen=True)
class Panel:
    """A line chart over optimiser steps."""

    title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]

    @property
    def description(self) -> str:
        """The chart in a sentence, for those who do not see it."""
        ends = ", ".join(f"{line.label} {line.last}" for line in self.lines)
        return f"{self.title} over the optimiser steps; at the end: {ends}"


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: one bar of accuracy per bin, its images beneath, the diagonal."""

    size: float
    bars: list[tuple[float, float, float, float]]  # x, y, width, height
    counts: list[tuple[float, float, float, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True)
class Cell:
    """A cell of a confusion matrix that holds images."""

    x: float
    y: float
    share: float
    right: bool
    count: int
    title: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: rows are true classes, columns predicted ones.

    Numbers stand in a `gutter` above and to the left, names to the right of it, `wide` units long,
    so that a narrow screen shows the matrix first.
    """

    gutter: float
    wide: float
    cell: float
    classes: int
    cells: list[Cell]
    names: list[str]


class Curve(NamedTuple):
    """A line before it has a scale: `points` are (step, value)."""

    label: str
    colour: str
    dashed: bool
    points: list[tuple[int, float]]


def panels(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[Panel]:
    """One panel per figure that was recorded, from the rows of a run's metrics.jsonl.

    Parts have a line each, over all phases of training. A figure of the whole network has one for
    training and one for validation. The axis starts at 0, lest noise look like change.
    """
    steps = max((row["step"] for row in rows), default=0)
    found = ((title, _curves(rows, name)) for name, title in titles.items())
    return [_panel(title, curves, steps) for title, curves in found if curves]


def _curves(rows: Sequence[Mapping[str, Any]], name: str) -> list[Curve]:
    held_out = [row for row in rows if row["phase"] == "validation"]
    trained = [row for row in rows if row["phase"] != "validation"]
    prefix = f"{name}/part "
    keys = {key for row in trained for key in row}
    numbers = [n for n in range(1, PARTS + 1) if f"{prefix}{n}" in keys]
    if numbers:
        curves = [
            Curve(f"part {n}", f"var(--part-{n})", False, _points(trained, f"{prefix}{n}"))
            for n in numbers
        ]
    else:
        curves = [
            Curve("training", "var(--soft)", True, _points(trained, name)),
            Curve("validation", "var(--ink)", False, _points(held_out, name)),
        ]
    return [curve for curve in curves if curve.points]


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in rows if name in row]


@default_style()
def _panel(title: str, curves: Sequence[Curve], steps: int) -> Panel:
    values = [value for curve in curves for _, value in curve.points]
    bottom, top = min(0, *values), max(0, *values)
    x_ticks = MaxNLocator(4, integer=True, min_n_ticks=2).tick_values(0, max(steps, 1))
    y_ticks = MaxNLocator(4).tick_values(bottom, top if top > bottom else 1)
    low, high = y_ticks[0], y_ticks[-1]

    def x(step: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * step / max(steps, 1)

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    lines = [
        Line(
            curve.label,
            curve.colour,
            curve.dashed,
            points=[(x(step), y(value)) for step, value in curve.points],
            last=f"{curve.points[-1][1]:.3g}",
        )
        for curve in curves
    ]
    return Panel(
        title,
        [Tick(x(step), f"{step:g}") for step in x_ticks if step <= steps],
        [Tick(y(value), f"{value:.6g}") for value in y_ticks],
        lines,
    )


def reliability(bins: Sequence[ReliabilityBin]) -> Reliability:
    """Accuracy over confidence; `bins` as in `Classification.reliability`."""
    size, histogram, gap = 210, 34, 10
    width = size / len(bins)
    most = max(each.images for each in bins)
    bottom = _TOP + size
    ticks = (0, 0.5, 1)
    return Reliability(
        size,
        bars=[
            (_LEFT + i * width, bottom - size * each.accuracy, width, size * each.accuracy)
            for i, each in enumerate(bins)
            if each.accuracy is not None
        ],
        counts=[
            (_LEFT + i * width, bottom + gap, width, max(histogram * each.images / most, 1))
            for i, each in enumerate(bins)
            if each.images
        ],
        x_ticks=[Tick(_LEFT + size * each, f"{100 * each:g} %") for each in ticks],
        y_ticks=[Tick(bottom - size * each, f"{100 * each:g} %") for each in ticks],
    )


def matrix(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Matrix:
    """A confusion matrix, classes named where there is room for names."""
    classes = len(confusion)
    named = classes <= _NAMED
    names = [readable(name) for name in class_names]
    labels = [readable(name, _LETTERS) for name in class_names] if named else []
    cell = min(max(480 / classes, 20), 34) if named else max(640 / classes, 2)
    gutter = 24.0 if named else 0.0
    wide = max(map(len, labels)) * 6.2 + 12 if named else 0.0
    cells = [
        Cell(
            gutter + column * cell,
            gutter + row * cell,
            count / sum(counts),
            row == column,
            count,
            f"{names[row]}: {count} of {sum(counts)} taken for {names[column]}",
        )
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        if count
    ]
    return Matrix(gutter, wide, cell, classes, cells, labels)
