"""Fitness of a population.

One program per resolution, and each candidate's figures as if it were alone.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.augment import resized
from jaxnas.networks.subnet import forward
from jaxnas.objectives.objective import (
    Evidence,
    classification_error,
    fitness,
    network_macs,
    network_params,
    peak_memory,
    predicted_latency,
)
from jaxnas.predictors.mlp import LatencyMLP, predict
from jaxnas.spaces.encodings import gene_values
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take
from jaxnas.training.evaluate import Examples

COUNT = 70  # more than one micro-batch
SLICED = jax.jit(forward, static_argnums=0)


@pytest.fixture(scope="module")
def net(small_mobilenet):
    return build(small_mobilenet((8, 12), 1, 4))


@pytest.fixture(scope="module")
def evidence(net, randomised):
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
    images = jax.random.normal(jax.random.key(0), (COUNT + 20, 12, 12, 1))
    ops = net.ops(net.space.largest)
    labels = jnp.argmax(SLICED(ops, take(params, ops), images[:COUNT])[0], -1).astype(jnp.int32)
    examples = [
        Examples(some[:COUNT], labels, some[COUNT:])
        for some in (resized(images, size) for size in (8, 12))
    ]
    return [Evidence(params, predictor, jnp.int32(i), one) for i, one in enumerate(examples)]


@pytest.fixture(scope="module")
def population(net):
    """Both resolutions, mixed; genomes 0 and 1 differ in their resolution alone."""
    genomes = np.array(net.space.sample(jax.random.key(1), 6))
    genomes[1] = genomes[0]
    genomes[:, 0] = [0, 1, 0, 1, 1, 0]
    return genomes


@pytest.fixture(scope="module")
def traced(net, evidence):
    """The fitness function, and the list that every trace of its objectives is added to."""
    traces = []

    def counted(objective):
        def measure(genomes, evidence):
            traces.append(objective.name)
            return objective.measure(genomes, evidence)

        return replace(objective, measure=measure)

    objectives = [counted(classification_error(net)), counted(predicted_latency(net.space))]
    return fitness(net.space, objectives, evidence), traces


def alone(net, evidence, genome):
    """Error of the extracted network, and the prediction for it."""
    one = evidence[genome[0]]
    ops = net.ops(genome)
    weights = take(one.params, ops)
    stats = SLICED(ops, weights, one.examples.calibration)[1]
    logits = SLICED(ops, weights, one.examples.images, stats)[0]
    error = np.mean(np.argmax(logits, -1) != np.asarray(one.examples.labels))
    return error, float(
        predict(one.predictor, gene_values(net.space, jnp.asarray(genome)[None]))[0]
    )


def test_a_mixed_population_is_evaluated_as_each_candidate_alone(net, evidence, population, traced):
    evaluate, _ = traced
    found = evaluate(population)
    assert found.shape == (6, 2) and found.dtype == np.float32
    expected = np.array([alone(net, evidence, genome) for genome in population])
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
    assert sorted(traces) == ["error", "error", "latency", "latency"]
    np.testing.assert_array_equal(evaluate(population[::-1]), first[::-1])


def test_a_single_candidate_has_the_figures_it_has_in_a_population(population, traced):
    evaluate, _ = traced
    together = evaluate(population)
    for i in (0, 1):
        np.testing.assert_allclose(
            evaluate(population[i : i + 1])[0], together[i], rtol=1e-5, atol=1.01 / COUNT
        )


def test_candidates_of_another_resolution_are_skipped(net, evidence, population):
    measured = jax.jit(classification_error(net).measure)(jnp.asarray(population), evidence[1])
    np.testing.assert_array_equal(np.isnan(measured), population[:, 0] != 1)


def test_analytic_costs_are_objectives(net, evidence, population):
    """In one program with the rest, of candidates of every resolution."""
    objectives = (
        network_macs(net.space),
        network_params(net.space),
        peak_memory(net.space),
        peak_memory(net.space, bytes_per_activation=1),
    )
    found = fitness(net.space, objectives, evidence)(population)
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
    np.testing.assert_array_equal(found[:, 2], 4 * found[:, 3])
    # Which differ in their resolution.
    assert found[0, 0] != found[1, 0] and found[0, 1] == found[1, 1]


def test_names_and_units(net):
    made = [
        make(net.space) for make in (predicted_latency, network_macs, network_params, peak_memory)
    ]
    assert [(one.name, one.unit) for one in (classification_error(net), *made)] == [
        ("error", "share of images"),
        ("latency", "ms"),
        ("macs", "million"),
        ("params", "million"),
        ("peak_memory", "KiB"),
    ]
