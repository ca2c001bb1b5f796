"""Training that keeps Pareto ranks: two phases, running means, and the gradient of the order."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.algorithms import pareto
from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.objectives.expected import expected_macs
from jaxnas.spaces.soft import softened
from jaxnas.supernets.build import build
from jaxnas.training.evaluate import trained_logits
from jaxnas.training.loop import train
from jaxnas.training.losses import hard_loss
from jaxnas.training.method import Batch, TrainConfig, TrainState
from jaxnas.training.pareto_members import Members, attainable, observed
from jaxnas.training.pareto_rank import Drawn, ParetoRank
from jaxnas.training.pareto_settings import ParetoConfig

OWN = ParetoConfig(members=6, group=3, renew_every=4, held_out=0.2)
SETTINGS = TrainConfig("pareto_rank", epochs=2, batch_size=16, warmup_epochs=0.0, pareto=OWN)


def method_of(**own) -> ParetoRank:
    method = make_method(replace(SETTINGS, pareto=replace(OWN, **own)))
    assert isinstance(method, ParetoRank)
    return method


@pytest.fixture(scope="module")
def edges(edges_space):
    return build(edges_space(8, 1, 10, width=4))


@pytest.fixture(scope="module")
def members(edges, digits) -> list[Members]:
    """After each of 40 steps, of which the first 20 are of strict fairness."""
    run = train(edges, digits, method_of(), SETTINGS, Augmentation(0, False), jax.random.key(0))
    return [jax.device_get(state.extra) for _, state, _ in run]


def test_members_are_drawn_when_the_first_phase_ends(members):
    assert len(members) == 40 and not any(one.seen.any() for one in members[:20])
    assert not any(one.genomes.any() for one in members[:20])
    assert members[20].seen.sum() == 3 and members[20].genomes.any()
    assert [int(np.isnan(one.loss).sum()) for one in members[19:21]] == [6, 3]


def test_the_last_member_makes_room(members, edges):
    """The one of the largest rank, every fourth step; the others stay."""
    costs = jax.vmap(expected_macs(edges.space))
    renewed = 0
    for step in range(21, 40):
        before, after = members[step - 1], members[step]
        changed = (before.genomes != after.genomes).any(axis=1) | (after.seen < before.seen)
        assert changed.sum() <= ((step - 20) % 4 == 0)
        for member in np.flatnonzero(changed):
            macs = costs(softened(edges.space, before.genomes))
            ranks = np.asarray(pareto.rank(jnp.stack([before.loss, macs], axis=1)))
            assert ranks[member] == ranks[~np.isnan(before.loss)].max()
            renewed += 1
    assert renewed >= 3


def test_running_means_are_free_of_what_a_batch_adds_to_all():
    """Of a batch a hundred harder than the other, differences alone count."""
    start = Members(
        jnp.zeros((3, 2), jnp.int32),
        jnp.array([1.0, jnp.nan, 3.0], jnp.float32),
        jnp.array([1, 0, 3], jnp.int32),
        jnp.array([0, 2, 1], jnp.int32),
    )
    found = observed(start, jnp.array([101.4, 103.2, 102.3], jnp.float32))
    # The known ones lie 100.3 above their means; one moves by a half, one by a fourth.
    np.testing.assert_allclose(found.loss, [1.05, 2.0, 2.975], atol=1e-4)
    assert found.seen.tolist() == [2, 1, 4]
    none = observed(start._replace(loss=jnp.full(3, jnp.nan)), jnp.array([2.0, 4.0, 6.0]))
    np.testing.assert_allclose(none.loss, [-2.0, 2.0, 0.0])


def test_what_is_attainable_is_the_least_loss_at_no_more_cost():
    losses = jnp.array([3.0, 1.0, 2.0, jnp.nan, 0.5])
    costs = jnp.array([1.0, 3.0, 2.0, 0.5, 3.0])
    assert attainable(losses, costs).tolist() == [3.0, 0.5, 2.0, np.inf, 0.5]


@pytest.mark.parametrize("loss", ["list_mle", "hinge"])
def test_the_order_is_trained(edges, loss):
    """Its gradient lifts the loss of who is too good for its rank, whatever all have in common."""
    method = method_of(loss=loss)
    ranks = jnp.array([0, 2, 1], jnp.int32)
    genomes = edges.space.sample(jax.random.key(0), 3)
    drawn = Drawn(genomes, genomes, ranks, jnp.array([0.5, 0.3, 0.1]))
    right = jnp.array([0.5, 0.9, 0.4])
    wrong = jnp.array([0.9, 0.3, 0.4])
    assert method.order_loss(right, drawn) < method.order_loss(wrong, drawn) - 0.05
    np.testing.assert_allclose(
        method.order_loss(wrong + 7, drawn), method.order_loss(wrong, drawn), rtol=1e-4
    )
    slopes = jax.grad(method.order_loss)(wrong, drawn)
    assert slopes[0] > 0.05 and slopes[1] < -0.05 and abs(float(slopes.sum())) < 1e-5


def test_gradients_are_those_of_the_summed_loss(edges, digits):
    """Of cross-entropy and order together, as one function of the weights."""
    method = method_of(weight=2.0)
    images = jnp.asarray(digits.train.images[:16], jnp.float32) / 255
    batch = Batch(images, jnp.asarray(digits.train.labels[:16]))
    params = edges.init(jax.random.key(0))
    group = edges.space.sample(jax.random.key(2), 3)
    ranks = jnp.array([2, 0, 1], jnp.int32)
    drawn = Drawn(group, group, ranks, jnp.zeros(3))
    state = TrainState(params, (), jnp.int32(30), method.start(edges.space))

    def total(params):
        losses = jnp.stack(
            [
                hard_loss(trained_logits(edges, params, one, images), batch.labels, 0.1)
                for one in group
            ]
        )
        return jnp.sum(losses) + 2.0 * 3 * method.order_loss(losses, drawn)

    expected = jax.jit(jax.grad(total))(params)
    found, _, losses = jax.jit(
        lambda state: method.gradients(edges, state, 40, batch, drawn, lambda _, x: x)
    )(state)
    assert losses.largest is None and losses.random > 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"cost": ""}, "train.pareto.cost must name what is traded for accuracy, got none"),
        ({"loss": "rmse"}, "unknown train.pareto.loss 'rmse'; known: hinge, list_mle"),
        ({"members": 2}, "train.pareto.members must be at least train.pareto.group, 3, got 2"),
    ],
)
def test_settings_that_make_no_sense_are_errors(own, message):
    with pytest.raises(UserError, match=message):
        method_of(**own)


def test_a_cost_that_needs_a_device_is_asked_for_one(edges):
    with pytest.raises(UserError, match=r"train\.pareto\.cost latency_ms needs a device"):
        method_of(cost="latency_ms").check(edges.space)
