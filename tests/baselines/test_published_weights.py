"""ResNets with the weights that their authors published, on CIFAR-10's test images."""

import io
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.baselines import resnet
from jaxnas.data.augment import normalise
from jaxnas.data.preparation import Preparation, calibration_images
from jaxnas.training.evaluate import accuracy
from jaxnas.training.recalibrate import recalibrated

DATA = Path(__file__).parents[3] / "shared" / "data"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

needs_data = pytest.mark.skipif(
    not (DATA / "cifar10_test.npz").exists(),
    reason="needs ../shared/data: CIFAR-10 and published weights",
)


@pytest.fixture(scope="module")
def test_split():
    """Normalised images and labels."""
    pixels, labels = read("cifar10_test.npz")
    return normalise(pixels, MEAN, DEVIATION), jnp.asarray(labels, jnp.int32)


def read(file, tiles=None):
    """Pixels and labels; the archive holds mosaics of 25 x 40 images."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    with np.load(DATA / file) as archive:
        blob = archive["blob"].tobytes()
        offsets = archive["offsets"]
        labels = archive["label"]
    found = [
        np.asarray(image.open(io.BytesIO(blob[i:j])).convert("RGB"))
        for i, j in pairwise(offsets[:tiles])
    ]
    pixels = np.concatenate(
        [tile.reshape(25, 32, 40, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3) for tile in found]
    )
    return pixels, labels[: len(pixels)]


def correct(depth, split) -> int:
    subnet = resnet.load(DATA / f"cifar10_resnet{depth}_torch.npz")
    assert len([op for op in subnet.ops if op.kind in ("conv", "linear")]) == depth
    return round(float(accuracy(subnet, *split)) * len(split[1]))


@needs_data
@pytest.mark.slow
def test_resnet20(test_split):
    assert correct(20, test_split) == 9173


@needs_data
@pytest.mark.slow
def test_resnet56(test_split):
    assert correct(56, test_split) == 9339  # an error of 6.61 %, as published


@needs_data
def test_resnet20_recalibrated_as_it_was_trained(test_split):
    """Its training shifted images with black borders.

    On images as they are, statistics are others, and 4 points are lost.
    """
    subnet = resnet.load(DATA / "cifar10_resnet20_torch.npz")
    images = read("cifar10_train.npz", 2)[0][:256]

    def recalibrated_accuracy(how):
        few = calibration_images(
            jax.random.key(0), images, MEAN, DEVIATION, 32, Preparation(recalibration=how)
        )
        return float(accuracy(recalibrated(subnet, few), *(some[:1000] for some in test_split)))

    assert recalibrated_accuracy("padded_crop") > 0.912 > 0.89 > recalibrated_accuracy("plain")
