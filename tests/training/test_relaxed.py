"""Search by gradient: exact gradients, first and second order; genes that do not matter stay."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import RELAXATIONS, make_method
from jaxnas.data.augment import Augmentation
from jaxnas.data.batches import divided_order
from jaxnas.errors import UserError
from jaxnas.objectives.expected import expected_macs
from jaxnas.relaxations.sampled import Sampled
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.relaxations.softmax import Softmax
from jaxnas.supernets.build import build
from jaxnas.training.loop import check_training, init_state, make_step, train
from jaxnas.training.method import Batch, TrainConfig
from jaxnas.training.relaxed import Relaxed, Turn
from jaxnas.training.views import on_device

SETTINGS = TrainConfig(
    "relaxed",
    epochs=1,
    batch_size=8,
    warmup_epochs=0.0,
    relaxed=RelaxedConfig("softmax", weights_first=0.0, zeros=True, learning_rate=0.1),
)


def with_own(settings=SETTINGS, **own):
    return replace(settings, relaxed=replace(settings.relaxed, **own))


@pytest.fixture(scope="module")
def edges(edges_space):
    return build(edges_space(8, 1, 10, width=4))


def turn(progress=0.5, number=0, rate=0.1):
    return Turn(jnp.int32(number), jnp.asarray(progress), jnp.asarray(rate))


def batch(seed, n=6):
    images = np.random.default_rng(seed).normal(size=(n, 8, 8, 1))
    return Batch(jnp.asarray(images), jnp.arange(n, dtype=jnp.int32))


@pytest.mark.parametrize(
    ("name", "order", "priced"), [("softmax", 2, "weights"), ("gumbel", 1, "targets")]
)
def test_gradients_are_those_of_finite_differences(edges, randomised, name, order, priced):
    """In float64, of three genes; the sign, too."""
    cost: dict[str, Any] = {
        "weights": {"cost_weights": (0.5,)},
        "targets": {"cost_targets": (0.02,)},
    }[priced]
    settings = with_own(order=order, cost="mmacs", **cost)
    method = Relaxed(RELAXATIONS[name](), settings, expected_macs)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), randomised(edges))
        logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)))
        given = batch(0), batch(1)

        def loss(logits):
            key = jax.random.key(0)
            return method.objective(edges, params, logits, *given, key, turn())[0]

        found = jax.jit(jax.grad(loss))(logits)
        assert found.dtype == jnp.float64
        value = jax.jit(loss)
        for at in ((0, 1), (1, 2), (3, 3)):
            step = jnp.zeros((4, 4)).at[at].set(1e-5)
            expected = (value(logits + step) - value(logits - step)) / 2e-5
            assert abs(expected) > 1e-5
            np.testing.assert_allclose(found[at], expected, rtol=1e-5)


def test_one_hot_probabilities_give_the_loss_of_the_network_and_second_order_one_step_ahead(
    edges, randomised
):
    params = randomised(edges)
    genome = jnp.array([2, 3, 1, 3], jnp.int32)
    logits = 200 * jax.nn.one_hot(genome, 4)
    method = Relaxed(Softmax(), SETTINGS)
    images, labels, _ = batch(0)
    given = Batch(images.astype(jnp.float32), labels)
    loss, soft = method.objective(edges, params, logits, given, given, jax.random.key(0), turn())
    np.testing.assert_array_equal(soft, jax.nn.one_hot(genome, 4))
    hard = method.error(edges.apply(params, given.images, genome)[0], given)
    np.testing.assert_allclose(loss, hard, rtol=1e-4)
    ahead = Relaxed(Softmax(), with_own(order=2))
    found = [
        ahead.objective(edges, params, logits, given, given, jax.random.key(0), turn(rate=rate))[0]
        for rate in (0.0, 1e-3)
    ]
    np.testing.assert_allclose(found[0], loss, rtol=1e-6)
    assert found[1] < loss  # of second order: after a step of descent on the same images


@pytest.mark.parametrize("name", RELAXATIONS)
def test_zeros_are_drawn_only_where_they_are_searched(edges, name):
    batch = Batch(jnp.zeros((1, 8, 8, 1)), jnp.zeros(1, jnp.int32))
    turn = Turn(jnp.int32(0), jnp.float32(0.5), jnp.float32(0.1))
    for zeros in (True, False):
        method = Relaxed(RELAXATIONS[name](), with_own(zeros=zeros))
        logits = jnp.zeros((4, 4)).at[:, 0].set(3)
        soft = method.soft(edges.space, logits, batch, jax.random.key(0), turn)
        assert bool((soft[:, 0] > 0).any()) == zeros
        np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-6)


def test_costs_weigh_the_loss_in_both_forms(edges):
    logits = jnp.zeros((4, 4))
    cost = float(expected_macs(edges.space)(jax.nn.softmax(logits)))
    loss = jnp.float32(2)
    added = Relaxed(Softmax(), with_own(cost="mmacs", cost_weights=(0.0, 3.0)), expected_macs)
    for number, expected in enumerate((2, 2 + 3 * cost)):
        found = added.priced(edges.space, loss, logits, 8, jnp.int32(number))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    own = with_own(cost="mmacs", cost_targets=(cost, 2 * cost), cost_exponent=0.5)
    for number, expected in enumerate((2, 2 * 0.5**0.5)):
        found = Relaxed(Softmax(), own, expected_macs).priced(
            edges.space, loss, logits, 8, jnp.int32(number)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_architectures_take_turns_after_the_weights_and_the_dearer_one_is_smaller(edges, digits):
    settings = with_own(cost="mmacs", cost_weights=(0.0, 300.0), weights_first=0.25)
    method = Relaxed(RELAXATIONS["sampled"](), settings, expected_macs)
    state = None
    before = None
    for step, state, _ in train(edges, digits, method, settings, Augmentation(), jax.random.key(0)):
        logits = np.array(state.extra.logits)
        assert (step <= 10) == (not logits.any())  # of 40
        if before is not None:
            other = step % 2  # the one whose turn it was not
            np.testing.assert_array_equal(logits[other], before[other])
        before = logits
    assert state is not None
    free, dear = method.learnt(edges.space, state.extra)
    assert (free.label, dear.label) == ("cost weight 0", "cost weight 300")
    costs = [one.cost_of(jnp.asarray(one.probabilities, jnp.float32)) for one in (free, dear)]
    assert costs[1] < 0.5 * costs[0] and np.isnan(dear.target)


def test_genes_that_do_not_matter_do_not_drift(per_block, digits):
    """Once moments have built up, a step in which a gene is dead leaves its logits as they are."""
    net = build(per_block)
    settings = with_own()
    method = Relaxed(RELAXATIONS["sampled"](), settings)
    needy = np.array([gene.needs is not None for gene in net.space.genes])
    step = make_step(net, method, settings, Augmentation(), 40)
    images = on_device(digits)
    rows = jnp.arange(8, dtype=jnp.int32)
    state = init_state(net, method, settings, 40, jax.random.key(1))
    moved = []
    for i in range(12):
        before = np.array(state.extra.logits[0])
        state, _ = step(state, jax.random.key(i), images, rows, rows + 8, resolution=8)
        moved.append((np.array(state.extra.logits[0]) != before).any(-1))
    seen = np.array(moved)[:, needy]
    assert seen.any() and not seen[1:].all()
    always = (net.space.sizes > 1) & ~needy
    assert np.array(moved)[1:, always].all()


def test_the_two_parts_of_the_images_never_meet():
    parts = [set(), set()]
    for epoch in (0, 1, 7):
        for seen, order in zip(
            parts, divided_order(jax.random.key(0), epoch, 41, 4, 0.25), strict=True
        ):
            assert order.shape == (10, 4) and order.dtype == jnp.int32
            seen |= set(order.ravel().tolist())
            rows = order[:2].ravel().tolist()
            assert len(set(rows)) == 8
    weights, architecture = parts
    assert len(architecture) == 10 and len(weights) == 31 and not weights & architecture


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"relaxation": "soft"}, "unknown relaxation 'soft'; known: binary_paths, gumbel"),
        ({"relaxation": "softmax:first=1"}, "unknown setting 'first' of softmax; known: momentum"),
        ({"relaxation": "gumbel:last=0"}, "last of a relaxation must be at least 1e-06"),
        ({"relaxation": "softmax:momentum=1"}, "momentum of a relaxation must be from 0 to below"),
        ({"relaxation": "sampled:weight_decay=-1"}, "weight_decay of a relaxation must be at"),
        ({"cost_weights": ()}, "cost_weights must be one or more"),
        ({"cost_weights": (0.5,)}, "need train.relaxed.cost, got none"),
        (
            {"cost": "mmacs", "cost_weights": (0.5,), "cost_targets": (1.0,)},
            "cost_weights or cost_targets, got both",
        ),
    ],
)
def test_settings_that_make_no_sense_are_errors(own, message):
    with pytest.raises(UserError, match=message):
        make_method(with_own(**own))


def test_settings_of_a_relaxation_follow_its_name():
    method = make_method(with_own(relaxation="sampled:first=1:weight_decay=0"))
    assert isinstance(method, Relaxed) and method.relaxation == Sampled(first=1, weight_decay=0)


def test_parts_of_a_batch_are_refused():
    with pytest.raises(UserError, match=r"train\.accumulate must be 1"):
        make_method(replace(SETTINGS, accumulate=2))


def test_a_space_without_a_supernet_is_refused():
    from jaxnas.spaces.gene import Gene
    from jaxnas.spaces.space import Space

    space = Space("table", (Gene("edge", (0, 1), "operation"),))
    with pytest.raises(UserError, match="space table has no parts, so that there is no supernet"):
        check_training(space, make_method(SETTINGS), SETTINGS)
