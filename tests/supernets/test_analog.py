"""Subnets in analog memory: the supernet's form against extracted networks, and a population."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.hardware.analog_chip import PCM
from jaxnas.hardware.analog_layer import ChipMemory
from jaxnas.numerics import analog
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.supernets.build import build
from jaxnas.supernets.forms import segments_of
from jaxnas.training.evaluate import Examples
from jaxnas.training.evaluate_analog import Trials, analog_accuracies
from jaxnas.training.recalibrate import statistics

# Its block has so many forms that those which differ in width alone are one, behind a mask.
STRUCTURE = MobileNet(
    (8,),
    (8, 16),
    1,
    (Stage((16, 24, 32), (1,), (3,), (2, 3), 2, False, "relu"),),
    (16,),
    3,
    4,
    activation="relu",
)
TIMES = (1.0, 86400.0)
# Tiles that a layer takes several of in both directions, whose columns share scale and factor.
CHIP = replace(PCM, tile_rows=64, tile_columns=10, scaling="tile", input_bits=0, output_bits=0)
PROGRAMMINGS = 3


@pytest.fixture(scope="module")
def case(randomised):
    net = build(mobilenet_space("analog", STRUCTURE))
    assert any(any(segment.forms.wider) for segment in segments_of(net.space, 8))
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (120, 8, 8, 3))
    scores = jax.jit(net.apply)(params, images, jnp.asarray(net.space.largest))[0]
    bias = params["classifier"]["bias"] - scores.mean(0)  # so that all classes occur
    params = params | {"classifier": params["classifier"] | {"bias": bias}}
    labels = jnp.argmax(scores - scores.mean(0), -1).astype(jnp.int32)
    return net, params, Examples(images[:70], labels[:70], images[70:])


@pytest.fixture(scope="module")
def genomes(case):
    """One of the first block's widths behind a mask, and the largest."""
    space = case[0].space
    narrow = np.array(space.largest)
    kinds = [gene.kind for gene in space.genes]
    narrow[[i for i, kind in enumerate(kinds) if kind == "width"]] = 0
    return np.stack([narrow, space.largest])


@pytest.fixture(scope="module")
def found(case, genomes):
    """Accuracies of a population by one program, one row of which is padding."""
    net, params, examples = case
    traces = []

    @jax.jit
    def measure(genomes, live):
        traces.append(None)
        trials = Trials(jax.random.key(5), PROGRAMMINGS, TIMES)
        return analog_accuracies(net, params, genomes, live, examples, ChipMemory(CHIP), trials)

    rows = jnp.asarray(genomes[[0, 1, 1]])
    lives = [True, True, False], [True, False, True]
    both = [np.asarray(measure(rows, jnp.array(live))) for live in lives]
    assert len(traces) == 1
    return both


def test_a_population_is_tried_in_one_program(found):
    one, other = found
    assert one.shape == (3, PROGRAMMINGS, len(TIMES))
    assert np.isnan(one[2]).all() and np.isnan(other[1]).all()
    np.testing.assert_array_equal(one[:2], other[[0, 2]])  # whatever else is evaluated
    assert np.ptp(one[:2], axis=1).min() > 0  # programmings differ
    assert one[:2].min() > 0 and one[:2].max() < 1


def test_the_supernet_computes_what_extracted_networks_do(case, genomes, found):
    """With all noise, by the same keys."""
    net, params, examples = case
    memory = ChipMemory(CHIP)

    @jax.jit
    def hits(subnet, key):
        network = analog.program(memory, key, subnet, examples.calibration, jnp.array(TIMES))
        each = [analog.logits(memory, network, i, examples.images) for i in range(len(TIMES))]
        scores = jnp.stack(each)
        right = jnp.argmax(scores, -1) == examples.labels
        return right.mean(1), jnp.abs(scores - subnet(examples.images)).max()

    for genome, row in zip(genomes, found[0], strict=False):
        stats = jax.jit(statistics, static_argnums=0)(
            net, params, jnp.asarray(genome), examples.calibration
        )
        subnet = net.extract(params, genome, stats)
        for p in range(2):
            right, noise = hits(subnet, jax.random.fold_in(jax.random.key(5), p))
            assert noise > 0.05  # another network than the exact one
            np.testing.assert_allclose(right, row[p], atol=1e-6)
