"""Figures: what they draw, and that their SVG is plain, stable and fit to share a page."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from jaxnas.report import plots


def points(rows):
    """From rows of error and cost."""
    return plots.Points(*np.array(rows, float).T)


FOUND = points([[0.10, 0.3], [0.30, 0.1], [0.40, 0.4], [np.nan, np.nan]])
FRONT = np.array([True, True, False, False])


def pareto(labels=("one", "two"), final=((0.15, 0.35), (0.35, 0.12)), searched=None):
    searched = FOUND.of([0, 1]) if searched is None else searched
    tested = points(final)
    error = tested.error[:, None] + [-0.02, 0.03]
    chosen = plots.Chosen(searched, tested, error, tested.cost[:, None] * [0.9, 1.2], labels)
    return plots.pareto(FOUND, FRONT, FOUND, FRONT, chosen, 0.25)


def line(figure, label):
    return next(line for line in figure.axes[0].get_lines() if line.get_label() == label)


def test_the_front_is_the_best_accuracy_for_each_latency():
    front = line(pareto(), "front of the search")
    assert front.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(np.asarray(front.get_xdata(), float), [0.1, 0.3, 0.4])
    np.testing.assert_allclose(np.asarray(front.get_ydata(), float), [70, 90, 90])


def test_chosen_networks_stand_where_they_were_measured_and_share_a_disc():
    letters = {text.get_text(): text.get_position() for text in pareto().axes[0].texts}
    assert letters == {"A": (0.35, 85.0), "B": (0.12, 65.0)}
    same = pareto(final=((0.15, 0.35), (0.15, 0.35)))
    assert [text.get_text() for text in same.axes[0].texts] == ["AB"]
    assert [
        text.get_text() for text in pareto(final=((0.15, 0.35), (0.2, np.nan))).axes[0].texts
    ] == ["A"]


def test_bars_reach_over_the_intervals_and_rings_are_where_the_search_had_them():
    axes = pareto().axes[0]
    (bars,) = [some for some in axes.containers if isinstance(some, ErrorbarContainer)]
    across, along = (
        [segment.tolist() for segment in lines.get_segments()] for lines in bars.lines[2]
    )
    np.testing.assert_allclose(across[0], [[0.9 * 0.35, 85], [1.2 * 0.35, 85]])
    np.testing.assert_allclose(along[0], [[0.35, 82], [0.35, 87]])
    rings = line(pareto(), "chosen, as the search had them")
    np.testing.assert_allclose(np.asarray(rings.get_xydata(), float), [[0.3, 90], [0.1, 70]])


def test_the_limit_is_drawn_where_it_is():
    assert line(pareto(), "limit: at most 0.25 ms").get_xdata() == [0.25, 0.25]


def test_hypervolume_is_drawn_from_nothing_on():
    assert FIGURES["hypervolume"]().axes[0].get_ylim()[0] == 0


def test_predicted_stands_against_measured():
    figure = plots.predictor(
        {
            "train": np.array([[0.2, 0.3]]),
            "test": np.array([[0.4, 0.5]]),
            "validation": np.zeros((0, 2)),
        }
    )
    points = figure.axes[0].collections[2].get_offsets()
    np.testing.assert_allclose(np.asarray(points, float), [[0.4, 0.5]])
    assert figure.axes[0].get_ylabel().startswith("predicted")


MEASURED = points([[0.10, 0.5], [0.20, 0.2], [0.50, 0.6]])


def doubt():
    interval = np.array([[0.2, np.inf], [0.05, 0.2], [0.3, 0.5], [np.nan, np.nan]])
    return plots.doubt(FOUND, FRONT, interval, MEASURED, np.array([True, True, False]))


def test_both_fronts_are_drawn():
    predicted = line(doubt(), "front as predicted")
    measured = line(doubt(), "front as measured")
    np.testing.assert_allclose(np.asarray(predicted.get_xdata(), float), [0.1, 0.3, 0.6])
    np.testing.assert_allclose(np.asarray(measured.get_xdata(), float), [0.2, 0.5, 0.6])
    np.testing.assert_allclose(np.asarray(measured.get_ydata(), float), [80, 90, 90])


def test_of_many_candidates_some_are_drawn_and_the_whole_front():
    rows = np.stack([np.linspace(0, 1, 9001), np.linspace(1, 0, 9001)], axis=1)
    figure = plots.doubt(
        points(rows), np.ones(9001, bool), rows[:, ::-1], MEASURED, np.array([True, True, False])
    )
    (dots,) = [
        some for some in figure.axes[0].collections if str(some.get_label()).startswith("predicted")
    ]
    assert dots.get_label() == "predicted, 9001 candidates, 3001 of them drawn"
    assert np.shape(dots.get_offsets()) == (3001, 2)
    assert np.shape(line(figure, "front as predicted").get_xdata()) == (9002,)


def contest():
    return plots.contest(
        {
            "scaled": (np.array([0.5, 0.2]), np.array([[0.4, 0.6], [0.2, 0.3]])),
            "ours": (np.ones(1), np.full((1, 2), 0.9)),
        }
    )


def test_a_contest_joins_the_means_by_latency_and_shows_every_seed():
    scaled = contest().axes[0].containers[0]
    np.testing.assert_allclose(np.asarray(scaled[0].get_xydata(), float), [[0.2, 25], [0.5, 50]])
    np.testing.assert_allclose(
        [bar[:, 1] for bar in scaled[2][0].get_segments()], [[20, 30], [40, 60]]
    )
    assert [some.get_label() for some in contest().axes[0].containers] == ["scaled", "ours"]


FIGURES = {
    "contest": contest,
    "pareto": pareto,
    "doubt": doubt,
    "hypervolume": lambda: plots.hypervolume(np.array([1.0, 2.0]), np.array([1.0, 1.5])),
    "predictor": lambda: plots.predictor({"train": np.array([[0.2, 0.3]])}),
    "training": lambda: plots.training(
        np.arange(3), np.array([3.0, 2.0, 1.0]), np.array([2.0, 1.0, 0.5])
    ),
    "finetuning": lambda: plots.finetuning(
        {"A: one": np.array([[0, 0.5], [1, 0.6]]), "_hidden": np.array([[0, 0.5], [1, 0.7]])}
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_one_plain_element_and_stable(name):
    text = plots.svg(FIGURES[name](), name)
    assert text.startswith("<svg") and text.rstrip().endswith("</svg>")
    assert text == plots.svg(FIGURES[name](), name)
    assert not any(word in text for word in ("http", "<!--", "<metadata><", "<text", "<script"))


def test_a_loss_of_the_largest_network_is_drawn_where_there_is_one():
    steps = np.arange(3)
    alone, both = (plots.training(steps, np.ones(3), np.full(3, loss)) for loss in (np.nan, 0.5))
    assert [len(figure.axes[0].lines) for figure in (alone, both)] == [1, 2]


def test_hostile_names_leave_no_trace_in_the_svg():
    text = plots.svg(
        pareto(("--><script>alert(1)</script>", '$\\frac{$ id="x" href="#y"')), "pareto"
    )
    assert not any(word in text for word in ("script", "alert", "frac", "--"))


def test_letters_go_on_after_z():
    assert [plots.letter(i) for i in (0, 25, 26)] == ["A", "Z", "27"]
