"""What answers are worth, against counts by hand."""

import numpy as np
import pytest

from jaxnas.training.metrics import accuracy, balanced_accuracy, commonest_share

LABELS = np.array([0] * 6 + [1] * 3 + [3])  # class 2 has no image
ANSWERS = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 2])


def test_accuracy_balanced_accuracy_and_what_knowing_nothing_gives():
    assert accuracy(ANSWERS, LABELS) == 0.7
    assert balanced_accuracy(ANSWERS, LABELS) == pytest.approx((5 / 6 + 2 / 3 + 0) / 3)
    assert commonest_share(LABELS) == 0.6


def test_always_answering_one_class_is_worth_its_share_and_one_over_the_classes():
    constant = np.zeros(10, int)
    assert accuracy(constant, LABELS) == commonest_share(LABELS)
    assert balanced_accuracy(constant, LABELS) == pytest.approx(1 / 3)
