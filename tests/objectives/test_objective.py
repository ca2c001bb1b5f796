"""Fitness of a population.

One program per resolution, and each candidate's figures as if it were alone.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import OBJECTIVES
from jaxnas.data.augment import resized
from jaxnas.errors import UserError
from jaxnas.hardware.cost_model import Modelled
from jaxnas.hardware.elastic_chip import ElasticChip
from jaxnas.hardware.memory_chip import RAPTOR
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.networks.subnet import forward
from jaxnas.objectives.analog import is_analog
from jaxnas.objectives.error import classification_error
from jaxnas.objectives.latency import predicted_latency
from jaxnas.objectives.objective import Context, EvaluationInputs, fitness
from jaxnas.predictors.mlp import Fitted, LatencyMLP
from jaxnas.predictors.predictor import Model
from jaxnas.spaces.joint import joint
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.training.evaluate import Examples

MEMORIES = (64, 256, 256_000)
ELASTIC = ElasticChip(RAPTOR, (("memory_bytes", MEMORIES),))
COUNT = 70  # more than one micro-batch
SLICED = jax.jit(forward, static_argnums=0)


@pytest.fixture(scope="module")
def net():
    """Of one or two plain blocks: it is compiled for each resolution and size of population."""
    stage = Stage((8, 16), (1, 2), (3, 5), (2, 3), 2)
    structure = MobileNet((8, 12), (8, 16), 2, (stage,), (16, 24), 1, 4)
    return build(mobilenet_space("small", structure))


@pytest.fixture(scope="module")
def inputs(net, randomised):
    """One per resolution; labels are what the largest network says of the larger images."""
    params = randomised(net)
    draw = np.random.default_rng(0)
    genes = len(net.space.genes)
    shapes = {
        "w0": (2, genes, 32),
        "b0": (2, 32),
        "w1": (2, 32, 16),
        "b1": (2, 16),
        "w2": (2, 16, 1),
        "b2": (2, 1),
        "input_mean": genes,
    }
    arrays = {
        name: jnp.asarray(0.3 * draw.normal(size=shape), jnp.float32)
        for name, shape in shapes.items()
    }
    predictor = LatencyMLP(
        **arrays,
        input_deviation=jnp.full(genes, 10.0),
        target_mean=jnp.float32(0),
        target_deviation=jnp.float32(1),
    )
    models: dict[str, Model] = {"latency_ms": Fitted(net.space, predictor)}
    images = jax.random.normal(jax.random.key(0), (COUNT + 20, 12, 12, 1))
    ops = net.ops(net.space.largest)
    labels = jnp.argmax(SLICED(ops, take(params, ops), images[:COUNT])[0], -1).astype(jnp.int32)
    examples = [
        Examples(some[:COUNT], labels, some[COUNT:])
        for some in (resized(images, size) for size in (8, 12))
    ]
    return [EvaluationInputs(params, models, jnp.int32(i), one) for i, one in enumerate(examples)]


@pytest.fixture(scope="module")
def population(net):
    """Both resolutions, mixed; genomes 0 and 1 differ in their resolution alone."""
    genomes = np.array(net.space.sample(jax.random.key(1), 6))
    genomes[1] = genomes[0]
    genomes[:, 0] = [0, 1, 0, 1, 1, 0]
    return genomes


@pytest.fixture(scope="module")
def traced(net, inputs):
    """The fitness function, and the list that every trace of its objectives is added to."""
    traces = []

    def counted(objective):
        def measure(genomes, inputs):
            traces.append(objective.name)
            return objective.measure(genomes, inputs)

        return replace(objective, measure=measure)

    objectives = [counted(classification_error(net)), counted(predicted_latency())]
    return fitness(net.space, objectives, inputs), traces


def alone(net, inputs, genome):
    """Error of the extracted network, and the prediction for it."""
    one = inputs[genome[0]]
    ops = net.ops(genome)
    weights = take(one.params, ops)
    stats = SLICED(ops, weights, one.examples.calibration)[1]
    logits = SLICED(ops, weights, one.examples.images, stats)[0]
    error = np.mean(np.argmax(logits, -1) != np.asarray(one.examples.labels))
    return error, float(one.models["latency_ms"](jnp.asarray(genome)[None])[0])


def test_a_mixed_population_is_evaluated_as_each_candidate_alone(net, inputs, population, traced):
    evaluate, _ = traced
    found = evaluate(population)
    assert found.shape == (6, 2) and found.dtype == np.float32
    expected = np.array([alone(net, inputs, genome) for genome in population])
    # One image may lie on the fence.
    np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=1.01 / COUNT)
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=1e-5)
    assert np.ptp(expected[:, 0]) > 0.1 and np.ptp(expected[:, 1]) > 0
    assert found[0, 0] != found[1, 0]  # the resolution matters


def test_populations_of_one_size_share_one_program_per_resolution(population, traced):
    evaluate, traces = traced
    first = evaluate(population)
    for genomes in (
        population[::-1],
        np.repeat(population[:1], 6, axis=0),
        np.repeat(population[1:2], 6, axis=0),
    ):
        evaluate(genomes)
    assert sorted(traces) == ["error", "error", "latency_ms", "latency_ms"]
    np.testing.assert_array_equal(evaluate(population[::-1]), first[::-1])


def test_a_single_candidate_has_the_figures_it_has_in_a_population(population, traced):
    evaluate, _ = traced
    together = evaluate(population)
    for i in (0, 1):
        np.testing.assert_allclose(
            evaluate(population[i : i + 1])[0], together[i], rtol=1e-5, atol=1.01 / COUNT
        )


def test_candidates_of_another_resolution_are_skipped(net, inputs, population):
    measured = jax.jit(classification_error(net).measure)(jnp.asarray(population), inputs[1])
    np.testing.assert_array_equal(np.isnan(measured), population[:, 0] != 1)


def test_analytic_costs_are_objectives(net, inputs, population):
    """In one program with the rest, of candidates of every resolution."""
    objectives = [OBJECTIVES[name](context(net)) for name in ("mmacs", "mparams", "peak_kib")]
    found = fitness(net.space, objectives, inputs)(population)
    ops = [net.ops(genome) for genome in population]
    np.testing.assert_allclose(
        1e6 * found[:, 0], [sum(op.macs for op in network) for network in ops], rtol=1e-6
    )
    np.testing.assert_allclose(
        1e6 * found[:, 1], [sum(op.params for op in network) for network in ops], rtol=1e-6
    )
    np.testing.assert_allclose(
        found[:, 2], 4 * np.asarray(net.space.costs(population).peak_activations) / 1024
    )
    # Which differ in their resolution.
    assert found[0, 0] != found[1, 0] and found[0, 1] == found[1, 1]


def context(net):
    return Context(net, Modelled(RAPTOR))


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if not is_analog(name)])
def test_every_objective_gives_a_figure_of_each_network(net, inputs, population, name):
    """On a chip whose memory is chosen with the network, which only what asks the chip reads."""
    both = build(joint(net.space, ELASTIC.genes))
    made = OBJECTIVES[name](Context(both, Modelled(ELASTIC)))
    assert made.name == name and made.unit and made.label
    evaluate = fitness(both.space, [made], inputs)
    chips = np.arange(len(population), dtype=np.int32)[:, None] % len(MEMORIES)
    found = evaluate(np.hstack([population, chips]))[:, 0]
    assert np.isfinite(found).all() and (found >= 0).all() and np.ptp(found) > 0
    again = evaluate(np.hstack([population, chips])[::-1])[:, 0]
    np.testing.assert_array_equal(again[::-1], found)
    largest = evaluate(np.hstack([population, np.full_like(chips, len(MEMORIES) - 1)]))[:, 0]
    reads = name in ("latency_ms", "energy_uj", "chip_kib")
    assert (largest != found).any() == reads
    if name == "chip_kib":
        np.testing.assert_array_equal(found, np.array(MEMORIES)[chips[:, 0]] / 1024)
    elif reads:
        assert (largest <= found).all()


def test_a_device_whose_memory_is_fixed_says_so(net):
    lanes = ElasticChip(RAPTOR, (("macs_per_cycle", (64, 128)),))
    for device in (OnnxRuntime(), Modelled(RAPTOR), Modelled(lanes)):
        with pytest.raises(UserError, match=f"the device {device.name} leaves none to be chosen"):
            OBJECTIVES["chip_kib"](Context(net, device))


def test_a_device_that_models_no_energy_says_so(net):
    with pytest.raises(UserError, match="onnxruntime gives no energy_uj"):
        OBJECTIVES["energy_uj"](Context(net, OnnxRuntime()))
