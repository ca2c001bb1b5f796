"""Which network is recommended, and what is said of the others.

On figures where the right answer is plain.
"""

import numpy as np
import pytest

from jaxnas.report import words
from jaxnas.report.answer import (
    Measured,
    advice,
    dominating,
    faster,
    labels,
    more_accurate,
    recommended,
)

IMAGES = 400


def network(letter: str, right: int, ms: float, first: int = 0, noise: float = 0.05) -> Measured:
    """Right on `right` images in a row, from the `first` on."""
    answers = np.roll(np.arange(IMAGES) < right, first)
    return Measured(
        letter, right / IMAGES, words.interval(right / IMAGES, IMAGES), ms, noise, answers
    )


def test_the_paired_test_sees_what_intervals_do_not():
    better = network("A", 380, 1.0)  # right wherever B is, and on 10 images more
    worse = network("B", 370, 1.0)
    assert more_accurate(better, worse) and not more_accurate(worse, better)
    assert not more_accurate(better._replace(right=None), worse)
    # 20 won, 10 lost: p = 0.1.
    assert not more_accurate(network("A", 380, 1.0), network("B", 370, 1.0, first=20))
    assert not more_accurate(better, better)


def test_faster_is_beyond_the_noise_of_both():
    assert not faster(network("A", 300, 0.96), network("B", 300, 1.0))
    assert faster(network("A", 300, 0.94), network("B", 300, 1.0))
    assert not faster(network("A", 300, 0.94), network("B", 300, 1.0, noise=0.1))


def test_the_demo_that_recommended_dominated_networks():
    """Audit: B is 98.3 % at 0.0315 ms, A 98.3 % at 0.0317, C "knee" 98.1 % at 0.0324.

    And not a word.
    """
    found = [
        network("A", 393, 0.0317),
        network("B", 393, 0.0315, first=2),
        network("C", 392, 0.0324, first=4),
    ]
    assert (
        advice(found, 0.05, None, 0.1)
        == "Take B: 98.2 % test accuracy at 0.0315 ms. A and C are not better within the noise."
    )
    assert [one.letter for one in dominating(found, 2)] == ["A", "B"]
    assert labels(found, 2) == ["dominated by A and B, within the noise"]
    assert labels(found, 1) == ["most accurate on test", "fastest measured"]


FOUND = [
    network("A", 380, 1.0),
    network("B", 376, 0.5, first=8),
    network("C", 300, 0.2),
    network("D", 370, 1.1),
]


@pytest.mark.parametrize(
    "limit_ms, taken, said",
    [
        (
            None,
            "B",
            (
                "A and D are not better within the noise. C takes 60.0 % less time and is 19.0 "
                "percentage points less accurate."
            ),
        ),
        (0.3, "C", "A is 20.0 percentage points more accurate and takes 1.00 ms, over the limit."),
        (0.1, "C", "None keeps the limit of 0.1 ms; it comes closest."),
    ],
)
def test_the_fastest_of_those_that_are_as_accurate_within_the_limit(limit_ms, taken, said):
    assert recommended(FOUND, 0.05, limit_ms).letter == taken
    text = advice(FOUND, 0.05, limit_ms, 0.25)
    assert text.startswith(f"Take {taken}: ") and said in text


def test_what_few_images_cannot_tell_apart_is_still_bounded_by_the_points_one_would_give_up():
    one, other = (
        Measured(letter, accuracy, (0.5, 1.0), ms, 0.05, None)
        for letter, accuracy, ms in (("A", 0.9, 1.0), ("B", 0.8, 0.5))
    )
    assert (
        recommended([one, other], 0.05, None).letter == "A"
        and recommended([one, other], 0.15, None).letter == "B"
    )


def test_nothing_is_recommended_that_knows_no_more_than_the_commonest_class():
    found = [network("A", 390, 1.0), network("B", 390, 0.5)]
    assert advice(found, 0.05, None, 0.975).startswith(
        "None is shown to know more than the commonest class"
    )
    assert advice(found, 0.05, None, 0.9).startswith("Take B")


@pytest.mark.parametrize("seed", range(40))
def test_the_recommended_is_never_dominated(seed):
    """However the pairs overlap in their answers, and the networks differ in their noise."""
    draw = np.random.default_rng(seed)
    found = [
        network(
            letter,
            int(draw.integers(360, 380)),
            float(np.round(draw.uniform(0.8, 1.2), 1)),
            int(first),
            float(noise),
        )
        for letter, first, noise in zip(
            "ABCDE", draw.choice([0, 0, 60], 5), draw.choice([0.0, 0.05, 0.2], 5), strict=True
        )
    ]
    limit_ms = float(draw.uniform(0.75, 1.2))
    taken = recommended(found, 0.05, limit_ms)
    assert not dominating(found, found.index(taken))
    assert taken.ms <= limit_ms or min(one.ms for one in found) > limit_ms
