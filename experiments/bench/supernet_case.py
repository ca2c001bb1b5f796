"""The work that `supernet.py` gives to both sides.

A supernet with random weights, genomes, images and labels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas import build_supernet, cifar, residual, tiny
from jaxnas.data import npz
from jaxnas.data.augment import normalise, resized
from jaxnas.errors import UserError
from jaxnas.spaces.space import Space
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.recalibrate import recalibrated

CHUNK = 256  # images at a time where labels are made


@dataclass(frozen=True)
class Sizes:
    """How much work."""

    space: Callable[[int, int, int], Space]
    image_size: int
    genomes: int
    calibration: int
    evaluation: int
    batch: int  # of a training step
    steps: int  # training steps a round
    architectures: int  # whose analytic objectives one call computes


FULL = Sizes(
    cifar, 32, genomes=32, calibration=512, evaluation=2048, batch=64, steps=3, architectures=2**20
)
RESIDUAL = replace(FULL, space=residual, genomes=4, calibration=64, evaluation=128)  # to train
QUICK = Sizes(
    tiny, 16, genomes=8, calibration=64, evaluation=256, batch=16, steps=2, architectures=2**10
)


class Work(NamedTuple):
    """Normalised images (n, h, w, c) of one resolution, labels, and images to calibrate on."""

    images: jax.Array
    labels: np.ndarray
    calibration: jax.Array


class Case(NamedTuple):
    """The same for every contender."""

    sizes: Sizes
    net: Supernet
    params: Params
    genomes: np.ndarray  # (n, genes), by rising MACs
    work: dict[int, Work]  # by resolution
    pixels: np.ndarray  # uint8 (n, h, w, c), to train on
    mean: np.ndarray
    deviation: np.ndarray


def make_case(sizes: Sizes, images: Path | None) -> Case:
    """Labels are what the largest network says.

    So that accuracies differ between subnets although nothing was trained.
    """
    pixels = _pixels(sizes, images)
    net = build_supernet(sizes.space(sizes.image_size, pixels.shape[-1], 10))
    init_key, random_key, genome_key = jax.random.split(jax.random.key(0), 3)
    params = random_norms(jax.jit(net.init)(init_key), random_key)
    mean, deviation = (
        np.asarray(moment((0, 1, 2)) / 255, np.float32) for moment in (pixels.mean, pixels.std)
    )
    case = Case(
        sizes, net, params, _genomes(net, genome_key, sizes.genomes), {}, pixels, mean, deviation
    )
    normalised = normalise(pixels, case.mean, case.deviation)
    for choice, resolution in enumerate(net.space.resolutions):
        inputs = resized(normalised, resolution)
        calibration = inputs[: sizes.calibration]
        evaluation = inputs[sizes.calibration :]
        case.work[resolution] = Work(
            evaluation, _labels(case, choice, evaluation, calibration), calibration
        )
    return case


def random_norms(params: Params, key: jax.Array) -> Params:
    """Weights in which every norm and bias counts and logits spread.

    As initialised, all subnets would give the same logits.
    """

    def drawn(path, leaf, key):
        names = [part.key for part in path]
        if names[-1] == "scale":
            return jax.random.uniform(key, leaf.shape, minval=0.5, maxval=1.5)
        if names[-1] in ("shift", "bias"):
            return 0.3 * jax.random.normal(key, leaf.shape)
        return 20 * leaf if names[0] == "classifier" else leaf

    leaves, structure = jax.tree.flatten(params)
    keys = jax.tree.unflatten(structure, list(jax.random.split(key, len(leaves))))
    return jax.tree.map_with_path(drawn, params, keys)


def _genomes(net: Supernet, key: jax.Array, n: int) -> np.ndarray:
    genomes = np.asarray(net.space.sample(key, n))
    return genomes[np.argsort([sum(op.macs for op in net.ops(genome)) for genome in genomes])]


def _pixels(sizes: Sizes, path: Path | None) -> np.ndarray:
    """Real images, or smooth random ones: on plain noise a network says the same of every image."""
    n = sizes.calibration + sizes.evaluation
    size = sizes.image_size
    if path is None:
        draw = np.random.default_rng(0)
        smooth = jax.image.resize(draw.normal(size=(n, 4, 4, 3)), (n, size, size, 3), "cubic")
        return np.clip(
            128 + 40 * np.asarray(smooth) + 10 * draw.normal(size=(n, size, size, 3)), 0, 255
        ).astype(np.uint8)
    pixels = npz.load(
        str(path), data_dir=None, search_images=0, calibration_images=n, seed=0
    ).calibration.images
    if len(pixels) < n or pixels.shape[1:3] != (size, size):
        raise UserError(
            f"--images needs {n} training images of {size} x {size} pixels, got {pixels.shape}: "
            "take another archive"
        )
    return pixels


def _labels(case: Case, choice: int, images: jax.Array, calibration: jax.Array) -> np.ndarray:
    """What the largest network of a resolution predicts."""
    genome = case.net.space.at_resolution(case.net.space.largest, choice)
    subnet = recalibrated(case.net.extract(case.params, genome, {}), calibration)
    predict = jax.jit(lambda subnet, images: jnp.argmax(subnet(images), -1))
    return np.concatenate(
        [np.asarray(predict(subnet, images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)]
    )
