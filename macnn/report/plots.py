"""Diagrams: how a training went, and which classes are taken for which."""

import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from macnn.evaluation.metrics import Classification
from macnn.plotting import Axes, Figure, Line2D, LineStyleType, default_style
from macnn.report.style import INK, part_colour, readable
from macnn.text import shown

_STYLES: tuple[LineStyleType, ...] = ("-", "--", ":", "-.")
_NAMED_CLASSES = 40  # more names than that cannot be read
_COUNTED_CLASSES = 16
_LETTERS = 50  # of a name


@default_style()
def learning_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """One panel per figure over the optimiser steps, from the rows of a run's metrics.jsonl.

    A row has `phase`, `step` and any figures. Colour tells the parts apart ("diversity/part 1" is
    a line of the panel "diversity"), the dashes tell the phases apart.
    """
    panels: dict[str, dict[tuple[str, str], list[tuple[int, float]]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("phase", "step", "round"):
                panel, _, series = name.partition("/")
                line = panels.setdefault(panel, {}).setdefault((row["phase"], series), [])
                line.append((row["step"], value))
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    dashes = {phase: _STYLES[i % len(_STYLES)] for i, phase in enumerate(phases)}
    colours = {series: _colour(series) for lines in panels.values() for _, series in lines}

    columns = max(min(3, len(panels)), 1)
    lines_of_panels = max(ceil(len(panels) / columns), 1)
    figure = Figure((4 * columns, 2.6 * lines_of_panels + 0.5), dpi=120, layout="constrained")
    for place, (panel, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(lines_of_panels, columns, place)
        for (phase, series), points in lines.items():
            axes.plot(
                *zip(*points, strict=True),
                color=colours[series],
                linestyle=dashes[phase],
                linewidth=1.4 if series else 2,
                marker="." if len(points) < 30 else None,
            )
        title = shown(panel.replace("_", " "), _LETTERS)
        axes.set_title(title, fontsize=10, color=INK, parse_math=False)
        _plain(axes)
    legend = figure.legend(
        handles=[
            *(Line2D([], [], color=INK, linestyle=dashes[p], label=_label(p)) for p in phases),
            *(Line2D([], [], color=colours[s], label=_label(s)) for s in colours if s),
        ],
        loc="outside upper center",
        ncols=8,
        frameon=False,
        fontsize=9,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.supxlabel("optimiser step", fontsize=9)
    return figure


@default_style()
def confusion_picture(classification: Classification) -> Figure:
    """The confusion matrix as shares of each true class (row), with counts where there is room."""
    counts = np.asarray(classification.confusion)
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    classes = len(counts)
    side = 3 + 0.32 * classes if classes <= _NAMED_CLASSES else 8
    figure = Figure((side + 0.8, side), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, label="share of the true class", shrink=0.7)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    named = classification.class_names if classes <= _NAMED_CLASSES else ()
    names = [readable(name, _LETTERS) for name in named]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    if classes <= _COUNTED_CLASSES:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else INK
                axes.text(column, row, count, ha="center", va="center", fontsize=8, color=colour)
    return figure


def _colour(series: str) -> str:
    """The colour of a part for "part 1" and on, ink for everything else."""
    part = re.fullmatch("part ([0-9]{1,3})", series)
    return part_colour(int(part[1]) - 1) if part else INK


def _label(name: str) -> str:
    return shown(name, _LETTERS).lstrip("_")  # with a "_" in front it would be left out


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", linewidth=0.8)
    axes.tick_params(labelsize=8)
