import io

import pytest
import torch

from macnn.evaluation.metrics import classification_report
from macnn.plotting import default_style
from macnn.report.plots import confusion_picture, learning_curves
from macnn.report.style import part_colour

ROWS = [
    {"phase": "grouping", "step": 10, "round": 1, "diversity": 0.3},
    {"phase": "validation", "step": 20, "round": 1, "accuracy": 0.4, "accuracy/part 2": 0.3},
    {"phase": "grouping", "step": 30, "round": 2, "diversity": 0.2},
    {"phase": "validation", "step": 40, "round": 2, "accuracy": 0.6, "diversity": 0.1},
]


def classified(logits, labels, names):
    return classification_report(torch.tensor(logits)[:, None], torch.tensor(labels), names)


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def test_each_figure_has_a_panel_and_steps_and_rounds_have_none():
    assert list(panels(learning_curves(ROWS))) == ["diversity", "accuracy"]


def test_lines_follow_the_rows():
    line, validation = panels(learning_curves(ROWS))["diversity"].lines
    assert line.get_xydata().tolist() == [[10, 0.3], [30, 0.2]]
    assert validation.get_xydata().tolist() == [[40, 0.1]]


def test_phases_differ_by_dashes_and_parts_by_colour():
    found = panels(learning_curves(ROWS))
    grouping, validation = found["diversity"].lines
    whole, part = found["accuracy"].lines
    assert grouping.get_linestyle() != validation.get_linestyle() == whole.get_linestyle()
    assert part.get_color() == part_colour(1) != whole.get_color()


def test_the_legend_names_phases_and_parts():
    (legend,) = learning_curves(ROWS).legends
    assert [text.get_text() for text in legend.get_texts()] == ["grouping", "validation", "part 2"]


def test_confusion_shows_shares_of_the_true_class_and_counts():
    right, wrong = [2.0, 0.0], [0.0, 2.0]
    found = classified([right, right, right, wrong], [0] * 4, ["001.Sooty_Tern", "002.Auk"])
    axes = confusion_picture(found).axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]
    assert [text.get_text() for text in axes.texts] == ["3", "1"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Sooty Tern", "Auk"]


def test_many_classes_go_unnamed():
    found = classified(torch.eye(60).tolist(), list(range(60)), [str(i) for i in range(60)])
    axes = confusion_picture(found).axes[0]
    assert axes.get_xticklabels() == []
    assert len(axes.texts) == 0


@pytest.mark.parametrize(
    "figure",
    [
        learning_curves(ROWS),
        learning_curves([]),
        confusion_picture(classified([[1.0, 0.0]], [0], ["a $x$ $", "b"])),
    ],
)
def test_pictures_render(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert stream.getvalue().startswith(b"\x89PNG")


def test_names_are_drawn_as_they_are():
    hostile = "$\\frac$ \x1b[2J\u202e 鳥\n" + "z" * 10_000
    row = {"phase": f"_{hostile}", "step": 1, f"{hostile}/part ²": 0.5, f"{hostile}/_x": 0.5}
    figure = learning_curves([row])
    (legend,) = figure.legends
    drawn = [*figure.axes[0].texts, figure.axes[0].title, *legend.get_texts()]
    for text in drawn:
        assert text.get_text().isprintable()
        assert len(text.get_text()) <= 50
        assert not text.get_parse_math()
    assert len(legend.get_texts()) == 3
    with default_style():
        figure.savefig(io.BytesIO(), format="png")
