"""What charts hold, and that the files for papers are of the same."""

import json
import re

import numpy as np
import pytest

from jaxnas.report import charts, papers
from jaxnas.report.points import Chosen, Points


def points(rows) -> Points:
    """From rows of error and cost."""
    return Points(*np.array(rows, float).T)


FOUND = points([[0.10, 0.3], [0.30, 0.1], [0.40, 0.4], [np.nan, np.nan]])
FRONT = np.array([0, 1])


def pareto(labels=("A one", "B two"), final=((0.15, 0.35), (0.35, 0.12))):
    tested = points(final)
    error = tested.error[:, None] + [-0.02, 0.03]
    chosen = Chosen(
        FOUND.of([0, 1]), tested, error, tested.cost[:, None] * [0.9, 1.2], list(labels)
    )
    return charts.pareto(FOUND, FRONT, (FOUND, FRONT), chosen, "latency (ms)", 0.25)


def marks(chart, kind, name):
    return [one for one in chart["marks"] if one["type"] == kind and one.get("name") == name]


def test_the_front_is_the_best_accuracy_for_each_latency():
    (front,) = marks(pareto(), "line", "front of the search")
    assert front["step"] and front["x"] == [0.1, 0.3, 0.4] and front["y"] == [70, 90, 90]
    (dots,) = marks(pareto(), "dots", "front of the search")
    assert dots["index"] == [0, 1] and dots["x"] == [0.3, 0.1]


def test_chosen_networks_stand_where_they_were_measured_with_their_intervals():
    name = "chosen: tested and measured, with intervals"
    (discs,) = marks(pareto(), "discs", name)
    assert discs["letters"] == ["A", "B"]
    assert discs["x"] == [0.35, 0.12] and discs["y"] == [85, 65]
    (spans,) = marks(pareto(), "spans", name)
    assert spans["xlow"] == [0.315, 0.108] and spans["xhigh"] == [0.42, 0.144]
    assert spans["ylow"] == [82, 62] and spans["yhigh"] == [87, 67]
    (rings,) = marks(pareto(), "rings", "chosen: as the search had them")
    assert rings["x"] == [0.3, 0.1] and rings["y"] == [90, 70]
    (unmeasured,) = marks(pareto(final=((0.15, 0.35), (0.2, np.nan))), "discs", name)
    assert unmeasured["x"] == [0.35, None]


def test_the_limit_is_drawn_where_it_is():
    assert [one["x"] for one in marks(pareto(), "rule", "limit: 0.25")] == [0.25]


def test_of_many_candidates_some_are_drawn_and_the_whole_front():
    rows = np.stack([np.linspace(0, 1, 9001), np.linspace(1, 0, 9001)], axis=1)
    known = points([[0.10, 0.5], [0.20, 0.2], [0.50, 0.6]])
    chart = charts.doubt(
        points(rows), np.ones(9001, bool), rows[:, ::-1], known, np.array([True, True, False])
    )
    assert len(marks(chart, "dots", "predicted")[0]["x"]) == 3001
    assert len(marks(chart, "line", "front as predicted")[0]["x"]) == 9002
    assert marks(chart, "line", "front as measured")[0]["y"] == [80, 90, 90]


def test_a_loss_of_the_largest_network_is_drawn_where_there_is_one():
    steps = np.arange(3)
    alone, both = (charts.training(steps, np.ones(3), np.full(3, loss)) for loss in (np.nan, 0.5))
    assert [len(chart["marks"]) for chart in (alone, both)] == [1, 2]


CHARTS = {
    "pareto": pareto,
    "hypervolume": lambda: charts.hypervolume(np.array([1.0, 2.0]), np.array([1.0, 1.5])),
    "predictor": lambda: charts.predictor(
        {"train": np.array([[0.2, 0.3]]), "test": np.array([[0.4, 0.5]])}
    ),
    "finetuning": lambda: charts.finetuning({"A: one": np.array([[0, 0.5], [1, 0.6]])}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_json_and_a_figure_of_the_same(name):
    chart = CHARTS[name]()
    assert json.loads(json.dumps(chart, allow_nan=False)) == chart
    axes = papers.figure(chart).axes[0]
    assert axes.get_xlabel() == chart["x"]["label"]
    for mark in chart["marks"]:
        if mark["type"] == "line":
            drawn = [np.asarray(line.get_xydata(), float).tolist() for line in axes.get_lines()]
            assert [list(pair) for pair in zip(mark["x"], mark["y"], strict=True)] in drawn
        if mark["type"] == "dots":
            drawn = [np.asarray(some.get_offsets(), float) for some in axes.collections]
            kept = [each[np.isfinite(each).all(axis=1)].tolist() for each in drawn]
            there = zip(mark["x"], mark["y"], strict=True)
            assert [list(pair) for pair in there if None not in pair] in kept
    if name == "pareto":
        assert {text.get_text(): text.get_position() for text in axes.texts} == {
            "A": (0.35, 85.0),
            "B": (0.12, 65.0),
        }


def test_files_for_papers_are_stable_and_hostile_names_leave_no_trace():
    bad = ("--><script>alert(1)</script>", '$\\frac{$ id="x" href="#y"')
    chart = charts.finetuning({name: np.array([[0, 0.5], [1, 0.6]]) for name in bad})
    found = papers.files({"some": chart})
    assert [*found] == ["some.svg", "some.pdf", "some.png"] and found == papers.files(
        {"some": chart}
    )
    assert found["some.pdf"].startswith(b"%PDF") and found["some.png"].startswith(b"\x89PNG")
    text = re.sub(r"<!--.*?-->", "", found["some.svg"].decode(), flags=re.DOTALL)
    assert not any(word in text for word in ("script", "alert", "frac", "<text"))
