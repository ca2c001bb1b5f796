"""How much each class counts in a training's losses, where classes are not equally frequent."""

import math

import numpy as np
from jaxtyping import Float32, Int

from jaxnas.errors import UserError

BALANCED = "balanced"


def check_class_weights(text: str | None, classes: int | None = None) -> None:
    """Refuses what is no weight for each class, of so many if their number is known."""
    if text is None or text == BALANCED:
        return
    try:
        numbers = [float(one) for one in text.split(",")]
    except ValueError:
        numbers = []
    if not any(numbers) or not all(0 <= one < math.inf for one in numbers):
        raise UserError(
            f"train.class_weights must be balanced or numbers from 0, got {text[:60]!r}: write one "
            "for each class, as 1,2.5,1"
        )
    if classes is not None and len(numbers) != classes:
        raise UserError(
            f"train.class_weights must be a number for each of {classes} classes, got "
            f"{len(numbers)}: write {classes}, or balanced"
        )


def class_weights(
    text: str | None, labels: Int[np.ndarray, "n"], classes: int
) -> Float32[np.ndarray, "classes"] | None:
    """The weights of the classes, scaled so that their mean over the images is 1.

    `balanced`: in inverse proportion to the number of images, so that all classes together count
    alike; else as the numbers say. None: all images count alike.

    Raises:
        UserError: it is no weight for each class, or all images have the weight 0.
    """
    check_class_weights(text, classes)
    if text is None:
        return None
    sizes = np.bincount(labels, minlength=classes)
    if text == BALANCED:
        weights = 1 / np.maximum(sizes, 1)
    else:
        weights = np.array([float(one) for one in text.split(",")])
    mean = np.average(weights, weights=sizes)
    if mean == 0:
        raise UserError(
            f"train.class_weights {text} are 0 for all classes that have training images: give one "
            "of these a weight"
        )
    return (weights / mean).astype(np.float32)
