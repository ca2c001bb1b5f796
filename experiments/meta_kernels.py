"""Question: do meta-kernels find how far layers must reach, at the price of one convolution?

The reading of E-DNAS (ICPR 2020) in spaces/meta_kernel.py, on images of two scales: the direction
of a texture of period 2, and the direction in which pairs of blobs lie 8 pixels apart. Kernels of 3
do not reach from one blob to the other. Searches are `relaxed`, one size of a kernel a step
(`straight_through`): under a mixture the weights of the outer rings can make up for small shares,
and the cost alone decides. The cost is the latency on this machine, by look-up tables of the layers
fitted to 48 networks.

- step: the time of a gradient in weights and architecture of a mixture, against that of a network
  of 11x11 kernels in its weights, in pairs, medians
- sweep: eight weights of the cost, an architecture each, on shared weights
- budget: the cost is the relative distance from a latency between those of kernels of 3 and of 11
- front: the networks that the budget found, trained alone like those of kernels of 3 and of 11

Command: python experiments/meta_kernels.py
Time: ten minutes.
"""

import sys
from dataclasses import replace
from functools import partial
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.cli import told
from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation, normalise
from jaxnas.data.dataset import Dataset, make_dataset
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import ExportedModel
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.networks.subnet import Arrays, Subnet
from jaxnas.objectives.expected import Cost, make_cost
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import kendall, spearman
from jaxnas.predictors.predictor import Model
from jaxnas.predictors.single import Single
from jaxnas.relaxations.architecture import Architecture, derived
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.spaces.meta_kernel import KERNELS, MetaKernels, meta_kernel_space
from jaxnas.spaces.soft import expected_values, softened
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import Supernet
from jaxnas.training.finetune import FinetuneConfig, finetune
from jaxnas.training.loop import train
from jaxnas.training.method import TrainConfig
from jaxnas.training.recalibrate import recalibrated, statistics
from jaxnas.training.relaxed import Relaxed
from jaxnas.training.views import on_device
from jaxnas.types import SoftGenome

PIXELS = 20
APART = 8  # pixels between the blobs of a pair
PAIRS = 3
SIZES = {"train": 2000, "search": 400, "test": 2000}
NET = MetaKernels(PIXELS, (8, 12, 16, 24), (1, 1, 2), KERNELS, 1, 4)
SEEDS = 1
MEASURED = 60  # networks
HELD_OUT = 12  # of them
ROUNDS = 3  # the fastest of which counts
WEIGHTS = tuple(float(w) for w in np.geomspace(0.5, 50, 8))  # of the cost, in CE per ms
BUDGETS = (0.5,)  # between the latencies of kernels of 3 and of 11
STRICT = 20.0  # weight of the relative distance from a budget
Floats = tuple[float, ...]
NONE = Augmentation(crop=0, flip=False)
SEARCH = TrainConfig(
    "relaxed",
    epochs=16,
    learning_rate=0.1,
    relaxed=RelaxedConfig(
        "straight_through:weight_decay=0", weights_first=0.3, learning_rate=0.1, cost="latency_ms"
    ),
)
ALONE = FinetuneConfig(epochs=15, learning_rate=0.05)


def two_scales(seed: int) -> Dataset:
    """Images of four classes: a texture's direction, and that of pairs of blobs."""
    draw = np.random.default_rng(seed)
    splits = {name: _images(draw, count) for name, count in SIZES.items()}
    names = ("rows, across", "rows, down", "columns, across", "columns, down")
    return make_dataset("two scales", names, **splits, calibration_images=256, seed=seed)


def _images(draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    fine = draw.integers(0, 2, count)
    coarse = draw.integers(0, 2, count)
    stripes = np.arange(PIXELS) % 2 * 2.0 - 1
    texture = np.where(fine[:, None, None], stripes[None, None, :], stripes[None, :, None])
    images = 0.5 * texture * draw.choice([-1.0, 1.0], (count, 1, 1))
    away = np.arange(PIXELS) - PIXELS // 2
    blob = 2.5 * np.exp(-(away[:, None] ** 2 + away**2) / 2)
    for image, down in zip(images, coarse, strict=True):
        for place in draw.integers(0, PIXELS, (PAIRS, 2)):
            other = place + APART * np.array([down, 1 - down])
            image += np.roll(blob, place, (0, 1)) + np.roll(blob, other, (0, 1))
    images += draw.normal(0, 0.5, images.shape)
    scaled = np.clip(64 + 48 * images, 0, 255).astype(np.uint8)
    return scaled[..., None], 2 * fine + coarse


def measured(net: Supernet) -> Model:
    """Look-up tables of the layers' latencies on this machine."""
    init_key, sample_key, images_key = jax.random.split(jax.random.key(0), 3)
    params = net.init(init_key)
    images = jax.random.normal(images_key, (64, PIXELS, PIXELS, 1))
    stats = jax.device_get(statistics(net, params, jnp.asarray(net.space.largest), images))
    genomes = np.asarray(net.space.sample(sample_key, MEASURED))
    networks = [net.extract(jax.device_get(params), genome, stats) for genome in genomes]
    files = [emit(network, PIXELS, PIXELS, 1) for network in networks]
    device = OnnxRuntime(seconds=0.05)
    rounds = [
        [device.measure(ExportedModel(*one)).latency_ms for one in zip(files, genomes, strict=True)]
        for _ in range(ROUNDS)
    ]
    latency_ms = np.nanmin(rounds, axis=0)
    order = np.arange(MEASURED) >= MEASURED - HELD_OUT
    model = Single(Lookup()).fit(jax.random.key(0), net.space, genomes, latency_ms, order)
    said = kendall(latency_ms[order], np.asarray(model(genomes[order])))
    print(
        f"table: Kendall's tau {said:.3f} on {HELD_OUT} networks that it has not seen", flush=True
    )
    return model


def searched(
    net: Supernet, data: Dataset, cost: Cost, weights: Floats, key: Array
) -> list[Architecture]:
    """What was learnt for each weight of the cost."""
    own = replace(SEARCH.relaxed, cost_weights=weights)
    settings = replace(SEARCH, relaxed=own)
    method = make_method(settings)
    assert isinstance(method, Relaxed)
    priced = replace(method, cost=lambda space: cost)
    *_, (_, state, _) = train(net, data, priced, settings, NONE, key)
    return priced.learnt(net.space, state.extra)


def accuracy(net: Supernet, data: Dataset, genome: Int[np.ndarray, "genes"], key: Array) -> float:
    """On the test images, of a network trained alone from fresh weights."""
    init_key, train_key = jax.random.split(key)
    subnet = net.extract(net.init(init_key), genome, {})
    *_, (_, state, _) = finetune(subnet, on_device(data), PIXELS, ALONE, NONE, train_key)
    weights: Arrays = state.weights
    moments = jnp.asarray(data.mean), jnp.asarray(data.deviation)
    calibration = normalise(jnp.asarray(data.calibration.images), *moments)
    whole = recalibrated(Subnet(subnet.ops, weights, {}), calibration)
    answers = jax.jit(Subnet.__call__)(whole, normalise(jnp.asarray(data.test.images), *moments))
    return float(np.mean(np.argmax(answers, -1) == data.test.labels))


def step() -> None:
    """The time of a gradient."""
    net = build(meta_kernel_space("meta", NET))
    fixed = build(meta_kernel_space("fixed", replace(NET, kernels=(11,))))
    images = jax.random.normal(jax.random.key(0), (64, PIXELS, PIXELS, 1))
    genes = len(net.space.genes)
    soft = jnp.full((genes, len(KERNELS)), 1 / len(KERNELS))
    largest = jnp.zeros(genes, jnp.int32)

    @jax.jit
    def mixed(params, soft):
        loss = lambda params, soft: jnp.sum(net.apply(params, images, soft)[0] ** 2)  # noqa: E731
        return jax.value_and_grad(loss, (0, 1))(params, soft)

    @jax.jit
    def only(params):
        loss = lambda params: jnp.sum(fixed.apply(params, images, largest)[0] ** 2)  # noqa: E731
        return jax.value_and_grad(loss)(params)

    arguments = net.init(jax.random.key(1)), soft
    alone = fixed.init(jax.random.key(1))
    ratios = []
    for _ in range(31):
        begun = perf_counter()
        jax.block_until_ready(mixed(*arguments))
        between = perf_counter()
        jax.block_until_ready(only(alone))
        ratios.append((between - begun) / (perf_counter() - between))
    low, middle, high = np.quantile(ratios[1:], (0.1, 0.5, 0.9))
    print(f"step: {middle:.3f} times as long (10 to 90 % of 30 pairs: {low:.3f}-{high:.3f})")


def sweep(net: Supernet, data: Dataset, cost: Cost, key: Array) -> None:
    """Expected kernels, and the networks' latencies, by the weight of the cost."""
    found = searched(net, data, cost, WEIGHTS, key)
    soft = [jnp.asarray(one.probabilities, jnp.float32) for one in found]
    kernels = [float(expected_values(net.space, one).mean()) for one in soft]
    networks = [derived(net.space, one)[0] for one in found]
    latency_ms = [float(cost(softened(net.space, network))) for network in networks]
    rows = zip(WEIGHTS, kernels, networks, latency_ms, strict=True)
    for weight, kernel, network, one in rows:
        values = [*net.space.decode(network).values()]
        print(
            f"sweep: {weight:.2f}/ms: expected kernel {kernel:.2f}, {values}, {one:.4f} ms",
            flush=True,
        )
    rank = spearman(np.array(WEIGHTS), np.array(latency_ms))
    falls = bool((np.diff(kernels) < 0).all())
    print(
        f"sweep: kernel falls monotonically: {falls}; Spearman with latency {rank:.3f}", flush=True
    )


def front(net: Supernet, data: Dataset, cost: Cost, key: Array) -> None:
    """What a budget finds, beside kernels of 3 and of 11."""
    space = net.space
    rows = {"fixed 3": space.smallest, "fixed 11": space.largest}
    least, most = (float(cost(softened(space, genome))) for genome in rows.values())
    for share in BUDGETS:
        budget_ms = least + share * (most - least)
        apart = partial(distance, cost, budget_ms)
        (found,) = searched(net, data, apart, (STRICT,), key)
        own = replace(found, cost=cost, target=budget_ms)
        mean_ms = own.cost_of(jnp.asarray(own.probabilities, jnp.float32))
        rows[f"budget {budget_ms:.4f} ms, expected {mean_ms:.4f}"] = derived(space, own)[0]
    for name, genome in reversed(rows.items()):
        values = [*space.decode(genome).values()]
        one = float(cost(softened(space, genome)))
        right = accuracy(net, data, genome, key)
        print(f"front: {name}: {values}, {one:.4f} ms, {right:.1%}", flush=True)


def distance(cost: Cost, budget_ms: float, genome: SoftGenome) -> Float[Array, ""]:
    """How far from the budget the expected latency is, as a share of it."""
    return jnp.abs(cost(genome) / budget_ms - 1)


def main() -> int:
    """All four."""
    step()
    net = build(meta_kernel_space("two_scales", NET))
    cost = make_cost("latency_ms", net.space, OnnxRuntime(), {"latency_ms": measured(net)})
    for seed in range(SEEDS):
        data = two_scales(seed)
        sweep_key, front_key = jax.random.split(jax.random.key(seed))
        front(net, data, cost, front_key)
        sweep(net, data, cost, sweep_key)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
