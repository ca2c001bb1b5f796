"""The contest of networks as matplotlib draws it."""

import numpy as np

from jaxnas.report import plots


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


def test_svg_is_stable_and_holds_no_text():
    text = plots.svg_file(contest())
    assert text == plots.svg_file(contest())
    assert not any(word in text for word in ("<text", "<script"))
