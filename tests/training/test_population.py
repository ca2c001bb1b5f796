"""Candidates trained together against each trained on its own, cut out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnas.data.augment import Augmentation, normalise
from jaxnas.networks.subnet import Subnet, forward
from jaxnas.supernets.supernet import take
from jaxnas.training import averaging, population
from jaxnas.training.evaluate import Examples
from jaxnas.training.finetune import FinetuneConfig, FinetuneState, _optimizer, _step
from jaxnas.training.losses import hard_loss
from jaxnas.training.optimizer import sgd
from jaxnas.training.population import HybridConfig, tuned, tuned_accuracies
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.views import on_device

PLAIN = Augmentation(crop=0, flip=False)
HYBRID = HybridConfig(epochs=1, head_epochs=2, share=0.5, batch_size=32, learning_rate=0.05)


@pytest.fixture(scope="module")
def case(net, digits, randomised):
    images = on_device(digits)
    search, calibration = (
        normalise(jnp.asarray(split.images), digits.mean, digits.deviation)
        for split in (digits.search, digits.calibration)
    )
    genomes = np.concatenate(
        [
            net.space.smallest[None],
            net.space.largest[None],
            np.asarray(net.space.sample(jax.random.key(1), 3)),
        ]
    )
    return (
        net,
        randomised(net),
        genomes,
        images,
        Examples(search, jnp.asarray(digits.search.labels), calibration),
    )


@pytest.fixture(scope="module")
def one(case):
    """A candidate's training, one program for all genomes of the same settings."""
    net, params, _, images, examples = case

    @partial(jax.jit, static_argnames="settings")
    def one(genome, key, settings):
        return tuned(net, params, genome, images, examples, settings, PLAIN, key)

    return one


def close(found, expected, tolerance=2e-4):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * max(1.0, float(np.abs(b).max())))


@pytest.mark.parametrize("row", [0, 2])
def test_whole_epochs_are_the_finetuning_of_the_network_cut_out(case, one, row):
    net, params, genomes, images, _ = case
    settings = HybridConfig(epochs=2, head_epochs=0, batch_size=32, ema_decay=0.9)
    found = one(jnp.asarray(genomes[row]), jax.random.key(0), settings).params
    rows, order, _ = population.orders(
        jax.random.split(jax.random.key(0))[0], len(images.labels), settings
    )
    ops = net.ops(genomes[row])
    alone = FinetuneConfig(epochs=2, batch_size=32, ema_decay=0.9)
    weights = take(params, ops)
    optimizer = _optimizer(alone, len(rows)).init(weights)
    state = FinetuneState(weights, optimizer, averaging.begun(0.9, weights))
    for step, some in enumerate(order):
        key = jax.random.key(step)
        state, _ = _step(state, key, images, rows[some], ops, alone, PLAIN, 8, len(rows))
    assert all(
        np.abs(state.weights[path]["kernel"] - weights[path]["kernel"]).max() > 0.01
        for path in weights
    )
    close(take(found, ops), state.evaluated)


def test_later_epochs_train_the_classifier_on_features_of_the_rest(case, one):
    net, params, genomes, images, examples = case
    settings = HybridConfig(epochs=0, head_epochs=2, batch_size=32, learning_rate=0.1)
    found = one(jnp.asarray(genomes[3]), jax.random.key(0), settings)
    rows, _, order = population.orders(
        jax.random.split(jax.random.key(0))[0], len(images.labels), settings
    )
    ops = net.ops(genomes[3])
    subnet = recalibrated(Subnet(ops, take(params, ops), {}), examples.calibration)

    @jax.jit
    def features(x):
        wide = forward(ops[:-1], subnet.weights, x, subnet.stats)[0][:, 0, 0]
        return jnp.pad(wide, ((0, 0), (0, len(params["classifier"]["kernel"]) - wide.shape[1])))

    seen = features(normalise(images.images[rows], images.mean, images.deviation))
    labels = images.labels[rows]
    head = params["classifier"]
    tx = sgd(optax.cosine_decay_schedule(0.1, 20), settings.weight_decay)
    optimizer = tx.init(head)

    @jax.jit
    def step(head, optimizer, some):
        gradient = jax.grad(
            lambda head: hard_loss(seen[some] @ head["kernel"] + head["bias"], labels[some], 0.1)
        )(head)
        updates, optimizer = tx.update(gradient, optimizer, head)
        return optax.apply_updates(head, updates), optimizer

    for some in order:
        head, optimizer = step(head, optimizer, some)
    close(found.params["classifier"], head)
    close(
        {k: v for k, v in found.params.items() if k != "classifier"},
        {k: v for k, v in params.items() if k != "classifier"},
        0,
    )
    scores = features(examples.images) @ head["kernel"] + head["bias"]
    assert float(found.accuracy) == pytest.approx(
        float((scores.argmax(-1) == examples.labels).mean()), abs=1e-6
    )


@pytest.fixture(scope="module")
def everyone(case):
    net, params, _, images, examples = case
    traces = []

    @partial(jax.jit, static_argnames="together")
    def everyone(genomes, live, key, together=None):
        traces.append(together)
        return tuned_accuracies(
            net, params, genomes, live, images, examples, HYBRID, PLAIN, key, together=together
        )

    return everyone, traces


def test_a_population_is_one_program_and_each_trains_as_if_alone(case, one, everyone):
    (run, traces) = everyone
    genomes = case[2]
    live = jnp.array([True, True, False, True, True])
    found = np.asarray(run(jnp.asarray(genomes), live, jax.random.key(5)))
    alone = [
        float(one(jnp.asarray(genome), jax.random.key(5), HYBRID).accuracy) for genome in genomes
    ]
    assert np.isnan(found[2]) and np.ptp(alone) > 0.05
    np.testing.assert_allclose(np.delete(found, 2), np.delete(alone, 2), atol=1e-6)
    run(jnp.asarray(genomes[::-1]), live, jax.random.key(6))
    assert len(traces) == 1


def test_side_by_side_is_in_turn(case, everyone):
    run = everyone[0]
    genomes = jnp.asarray(case[2])
    live = jnp.ones(len(genomes), bool)
    in_turn, beside = (
        np.asarray(run(genomes, live, jax.random.key(5), together)) for together in (1, 5)
    )
    # Of 80 images two may fall the other way.
    np.testing.assert_allclose(in_turn, beside, atol=0.03)


def test_training_makes_candidates_better(case, everyone, one):
    genomes = jnp.asarray(case[2])
    before = np.array(
        [
            float(one(genome, jax.random.key(5), HybridConfig(epochs=0, head_epochs=0)).accuracy)
            for genome in genomes
        ]
    )
    after = np.asarray(everyone[0](genomes, jnp.ones(len(genomes), bool), jax.random.key(5)))
    assert after.mean() > before.mean() + 0.1
