"""What answers are worth.

Accuracy, the mean over the classes, and what the commonest class alone gives.
"""

import numpy as np
from jaxtyping import Int


def accuracy(answers: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]) -> float:
    """The share of the images that are answered right."""
    return float(np.mean(answers == labels))


def balanced_accuracy(answers: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]) -> float:
    """The mean over the classes of the share answered right; classes without an image do not count.

    >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    0.5
    """
    return float(np.mean([np.mean(answers[labels == one] == one) for one in np.unique(labels)]))


def commonest_share(labels: Int[np.ndarray, "n"]) -> float:
    """The accuracy of always answering the commonest class.

    >>> commonest_share(np.array([0, 0, 0, 1]))
    0.75
    """
    return float(np.bincount(labels).max() / len(labels))
