import pytest

from macnn.evaluation.metrics import ReliabilityBin
from macnn.report import charts

ROWS = [
    {"phase": "grouping", "step": 10, "cng": 0.3, "diversity/part 1": 0.1, "diversity/part 2": 0.2},
    {"phase": "convolution", "step": 30, "accuracy": 0.5, "diversity/part 1": 0.2},
    {"phase": "validation", "step": 30, "accuracy": 0.4, "diversity/part 1": 0.9},
]


def test_there_is_a_panel_for_every_figure_that_was_recorded():
    titles = [panel.title for panel in charts.panels(ROWS, charts.LEARNING)]
    assert titles == ["Accuracy", "L_cng"]
    assert charts.panels([], charts.LEARNING) == []


def test_parts_have_a_line_each_over_all_phases_of_training():
    (panel,) = charts.panels(ROWS, {"diversity": "Div"})
    first, second = panel.lines
    assert (first.label, first.colour, len(first.points)) == ("part 1", "var(--part-1)", 2)
    assert (second.label, second.colour, len(second.points)) == ("part 2", "var(--part-2)", 1)


def test_training_and_validation_are_told_apart():
    (panel,) = charts.panels(ROWS, {"accuracy": "Accuracy"})
    assert [(line.label, line.dashed, line.last) for line in panel.lines] == [
        ("training", True, "0.5"),
        ("validation", False, "0.4"),
    ]
    assert panel.description.endswith("training 0.5, validation 0.4")


def test_every_panel_spans_the_same_steps_and_starts_at_zero():
    for panel in charts.panels(ROWS, charts.LEARNING):
        assert panel.y_ticks[0].label == "0"
        assert all(x <= charts.WIDTH for line in panel.lines for x, _ in line.points)
    grouping = charts.panels(ROWS, {"cng": "L_cng"})[0].lines[0].points[0][0]
    convolution = charts.panels(ROWS, {"accuracy": ""})[0].lines[0].points[0][0]
    assert grouping < convolution


def test_parts_are_ordered_by_number():
    row = {"phase": "grouping", "step": 1, **{f"diversity/part {i}": 0.1 for i in range(1, 13)}}
    (panel,) = charts.panels([row], {"diversity": "Div"})
    assert [line.label for line in panel.lines] == [f"part {i}" for i in range(1, 13)]


def test_a_bar_of_a_reliability_diagram_ends_at_its_accuracy():
    empty, full = ReliabilityBin(0, None, None), ReliabilityBin(4, 0.9, 0.5)
    chart = charts.reliability([empty, full])
    ((x, y, width, height),) = chart.bars
    assert (width, height) == (chart.size / 2, chart.size / 2)
    assert y + height == chart.y_ticks[0].place
    assert x == chart.x_ticks[1].place
    assert len(chart.counts) == 1


def test_a_confusion_matrix_draws_the_cells_that_hold_images():
    matrix = charts.matrix([[3, 1], [0, 0]], ["001.Sooty_Tern", "002.Auk"])
    right, wrong = matrix.cells
    assert (right.right, right.share, right.count) == (True, 0.75, 3)
    assert (wrong.right, wrong.share) == (False, 0.25)
    assert wrong.title == "Sooty Tern: 1 of 4 taken for Auk"
    assert (wrong.x - right.x, wrong.y) == (matrix.cell, right.y)
    assert matrix.names == ["Sooty Tern", "Auk"]


@pytest.mark.parametrize(("classes", "named"), [(40, True), (41, False), (2000, False)])
def test_many_classes_go_unnamed(classes, named):
    confusion = [[int(i == j) for j in range(classes)] for i in range(classes)]
    matrix = charts.matrix(confusion, [str(i) for i in range(classes)])
    assert bool(matrix.names) == named
    assert len(matrix.cells) == classes


def test_a_figure_that_stays_at_zero_has_a_flat_line():
    (panel,) = charts.panels([{"phase": "grouping", "step": 0, "cng": 0.0}], {"cng": "L_cng"})
    assert panel.y_ticks[0].label == "0"
    assert panel.lines[0].points[0][1] == panel.y_ticks[0].place
