"""The simulated int8 network against ONNX Runtime's.

And the accuracies of a population against those of its files.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits
from jaxnas.numerics.int8 import Int8, rounded, rounded_weights
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.supernets.build import build
from jaxnas.training.evaluate import Examples, accuracies
from jaxnas.training.recalibrate import statistics


@pytest.fixture(scope="module", params=["v3", "v2"])
def case(request, small_mobilenet, randomised):
    """Labels are what the largest network says.

    Few choices, which compiles fast: with v3's head the first block of the second stage has more
    forms than it has branches, and there may be a second; the toy family has expand ratios.
    """
    structure = small_mobilenet((8,), 3, 4).structure
    first, last = structure.stages
    first = replace(first, kernels=(3,))
    if request.param == "v3":
        last = replace(last, widths=(16, 24, 32), expands=(2,))
    else:
        last = replace(last, depths=(1,), expands=(2,), squeeze_excite=False)
    stages = (first, last)
    structure = replace(structure, first_widths=(8,), stages=stages, head=request.param)
    net = build(mobilenet_space("small", structure))
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (212, 8, 8, 3))
    labels = jnp.argmax(
        jax.jit(net.apply)(params, images, jnp.asarray(net.space.largest))[0], -1
    ).astype(jnp.int32)
    return net, params, Examples(images[:180], labels[:180], images[180:])


@pytest.fixture(scope="module")
def genomes(case):
    space = case[0].space
    return np.concatenate(
        [space.smallest[None], space.largest[None], np.asarray(space.sample(jax.random.key(1), 2))]
    )


@pytest.fixture(scope="module")
def files(case, genomes):
    """Each genome's file, and its int8 twin."""
    net, params, examples = case
    calibrate = jax.jit(lambda genome: statistics(net, params, genome, examples.calibration))
    weights = jax.device_get(params)
    models = [
        emit(net.extract(weights, genome, jax.device_get(calibrate(jnp.asarray(genome)))), 8, 8, 3)
        for genome in genomes
    ]
    return [(model, quantise(model, examples.calibration)) for model in models]


def test_logits_are_those_of_onnx_runtime(case, genomes, files):
    net, params, examples = case
    int8 = net.simulated(Int8())
    simulate = jax.jit(
        lambda genome: int8.logits(
            int8.calibrate(params, genome, examples.calibration), genome, examples.images
        )
    )
    for genome, (model, twin) in zip(genomes, files, strict=True):
        simulated = np.asarray(simulate(jnp.asarray(genome)))
        exact = onnx_logits(model, examples.images)
        deployed = onnx_logits(twin, examples.images)
        rounding = np.abs(deployed - exact).mean()
        difference = np.abs(simulated - deployed).mean()
        assert rounding > 0.002 * exact.std()  # int8 is another network
        assert difference < 0.5 * rounding, (difference, rounding)


def test_accuracies_of_a_population_are_those_of_the_files_and_one_program(case, genomes, files):
    net, params, examples = case
    traces = []

    @jax.jit
    def measure(params, genomes, live, examples):
        traces.append(None)
        return accuracies(net, params, genomes, live, examples, numerics=Int8())

    live = jnp.arange(len(genomes)) != 2
    found = np.asarray(measure(params, jnp.asarray(genomes), live, examples))
    deployed = [
        (onnx_logits(twin, examples.images).argmax(-1) == np.asarray(examples.labels)).mean()
        for _, twin in files
    ]
    assert np.isnan(found[2]) and np.ptp(deployed) > 0.1
    np.testing.assert_allclose(np.delete(found, 2), np.delete(deployed, 2), atol=0.03)
    measure(params, jnp.asarray(genomes[::-1]), live, examples)
    assert len(traces) == 1


def test_activations_have_256_levels_one_of_which_is_0():
    x = jnp.linspace(-1, 3, 10_001)
    y = np.asarray(jax.jit(rounded)(x, jnp.array([-1.0, 3.0])))
    assert len(np.unique(y)) == 256 and 0 in y
    np.testing.assert_allclose(y, x, atol=4 / 255 / 2 + 1e-6)
    positive = np.asarray(jax.jit(rounded)(x, jnp.array([1.0, 3.0])))  # 0 is in every range
    assert positive.min() == 0 and positive.max() == pytest.approx(3)
    np.testing.assert_array_equal(jax.jit(rounded)(jnp.zeros(3), jnp.zeros(2)), 0)


def test_weights_have_levels_of_their_own_in_each_channel():
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 40, 2)) * jnp.array([1.0, 100.0])
    y = np.asarray(jax.jit(rounded_weights)(kernel))
    for channel, step in zip(
        np.moveaxis(y, -1, 0), np.abs(np.asarray(kernel)).max((0, 1, 2)) / 127, strict=True
    ):
        np.testing.assert_allclose(channel / step, np.round(channel / step), atol=1e-4)
        assert np.abs(channel / step).max() == pytest.approx(127)
    np.testing.assert_array_equal(jax.jit(rounded_weights)(jnp.zeros((2, 3))), 0)
