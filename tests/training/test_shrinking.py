"""Progressive shrinking: its schedule, what each phase may draw, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Gene, Space
from jaxnas.supernets.build import build
from jaxnas.training.losses import distillation_loss, hard_loss
from jaxnas.training.shrinking import (
    ALL,
    PHASES,
    begin_phase,
    lowest,
    phase_genomes,
    phase_of,
    phase_starts,
    shrinking_gradients,
    shrinking_schedule,
)

STEPS = 5900  # ten per published epoch
STARTS = (0, 1800, 3000, 3250, 4450, 4700)
SMOOTHING = 0.1


@pytest.fixture(scope="module")
def net(little):
    return little((12,))


def test_phases_follow_each_other():
    assert phase_starts(STEPS) == STARTS
    found = jax.jit(jax.vmap(lambda step: phase_of(step, STEPS)))(
        jnp.array([0, 1799, 1800, 3000, 3249, 4449, 4450, 5899])
    )
    assert found.tolist() == [0, 0, 1, 2, 2, 3, 4, 5]
    assert phase_starts(3) == (0, 1, 2, 2, 2, 2)  # a phase may be left out


def test_learning_rates_are_those_published():
    """32 devices of 64 images; each phase ends at 0."""
    rate = jax.jit(shrinking_schedule(2.6, STEPS))
    ends = (*STARTS[1:], STEPS)
    middles = [
        float(rate((start + end) // 2)) / 32 for start, end in zip(STARTS, ends, strict=True)
    ]
    np.testing.assert_allclose(
        np.array(middles) * 2, [0.08125, 0.03, 0.0025, 0.0075, 0.0025, 0.0075], rtol=1e-4
    )
    assert all(float(rate(end - 1)) < 1e-4 for end in ends)
    starts = [float(rate(start)) / 32 for start in STARTS]
    np.testing.assert_allclose(
        starts, [0.08125e-3, 0.03e-3, 0.0025, 0.0075e-3, 0.0025, 0.0075e-3], rtol=1e-4
    )
    assert float(rate(STARTS[1] + 50)) == pytest.approx(32 * 0.03, rel=0.01)  # after five epochs


def test_what_each_phase_may_draw(net):
    genes = net.space.genes
    kinds = [gene.kind for gene in genes]
    assert set(kinds) == {"resolution", "width", "depth", "kernel", "expand"}
    elastic = [
        set(),
        {"kernel"},
        {"kernel", "depth"},
        {"kernel", "depth"},
        {"kernel", "depth", "expand", "width"},
    ]
    elastic.append(elastic[-1])
    draw = jax.jit(lambda key, phase: phase_genomes(key, net.space, phase))
    for i, phase in enumerate(PHASES):
        drawn = np.concatenate([draw(jax.random.key(seed), jnp.int32(i)) for seed in range(100)])
        np.testing.assert_array_equal(drawn.min(0), lowest(net.space, phase))
        np.testing.assert_array_equal(drawn.max(0), net.space.largest)
        varied = {
            kind
            for kind, low, high in zip(kinds, drawn.min(0), drawn.max(0), strict=True)
            if low < high
        }
        assert varied == elastic[i]
    expand = next(i for i, gene in enumerate(genes) if gene.kind == "expand")
    assert [int(lowest(net.space, phase)[expand]) for phase in PHASES] == [2, 2, 2, 2, 1, 0]
    assert all(gene.choices[-1] <= ALL for gene in genes)


@pytest.fixture(scope="module")
def case(net, randomised):
    params = randomised(net)
    teacher = jax.tree.map(lambda leaf: leaf + 0.05, params)
    images = jax.random.normal(jax.random.key(0), (8, 12, 12, 1))
    labels = jnp.arange(8, dtype=jnp.int32) % 10
    genomes = net.space.sample(jax.random.key(1), 4)
    largest = jnp.asarray(net.space.largest)

    def logits(params, genome):
        return net.apply(params, images, genome)[0]

    def loss(params, genome):
        hard = hard_loss(logits(params, genome), labels, SMOOTHING)
        return hard, distillation_loss(logits(params, genome), logits(teacher, largest))

    each = jax.jit(jax.value_and_grad(lambda params, genome: jnp.stack(loss(params, genome)).sum()))
    parts = [each(params, genome) for genome in genomes]
    alone = jax.jit(
        jax.value_and_grad(lambda params: hard_loss(logits(params, largest), labels, SMOOTHING))
    )
    run = jax.jit(
        lambda phase: shrinking_gradients(
            net, params, teacher, images, labels, genomes, phase, SMOOTHING
        )
    )
    return run, parts, alone(params), alone(teacher)[0]


def difference(found, expected):
    leaves = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in leaves) / max(
        float(jnp.max(jnp.abs(b))) for b in jax.tree.leaves(expected)
    )


@pytest.mark.parametrize("phase", [1, 2, 3, 4, 5])
def test_gradients_are_the_sum_over_as_many_subnets_as_the_phase_trains(case, phase):
    run, parts, _, teacher_loss = case
    gradients, losses = run(jnp.int32(phase))
    count = (0, 1, 2, 2, 4, 4)[phase]
    expected = jax.tree.map(
        lambda *leaves: sum(leaves), *(gradient for _, gradient in parts[:count])
    )
    assert difference(gradients, expected) < 1e-4
    np.testing.assert_allclose(
        losses.random, np.mean([loss for loss, _ in parts[:count]]), rtol=1e-4
    )
    np.testing.assert_allclose(losses.largest, teacher_loss, rtol=1e-4)
    for wrong in (1, 2, 4):
        if wrong != count:
            other = jax.tree.map(
                lambda *leaves: sum(leaves), *(gradient for _, gradient in parts[:wrong])
            )
            assert difference(gradients, other) > 1e-2


def test_at_first_the_largest_network_is_trained_on_labels_alone(case):
    run, _, (loss, expected), _ = case
    gradients, losses = run(jnp.int32(0))
    assert difference(gradients, expected) < 1e-4
    np.testing.assert_allclose([losses.largest, losses.random], loss, rtol=1e-4)
    assert losses.smallest is None


def test_a_phase_begins_with_a_new_teacher_or_with_sorted_channels(net, randomised):
    params = randomised(net)
    zeros = jax.tree.map(jnp.zeros_like, params)

    def importance(params):
        return np.abs(np.asarray(params["mb1"]["block1"]["project"]["kernel"])).sum((0, 1, 3))

    found, teacher = begin_phase(net, 1, params, zeros)
    jax.tree.map(np.testing.assert_array_equal, (found, teacher), (params, params))
    assert (
        teacher["classifier"]["bias"].unsafe_buffer_pointer()
        != found["classifier"]["bias"].unsafe_buffer_pointer()
    )
    for phase in (2, 3):
        jax.tree.map(
            np.testing.assert_array_equal, begin_phase(net, phase, params, zeros), (params, zeros)
        )
    first, teacher = begin_phase(net, 4, params, zeros)
    assert (np.diff(importance(first)) <= 1e-5).all() and not (
        np.diff(importance(params)) <= 1e-5
    ).all()
    jax.tree.map(np.testing.assert_array_equal, teacher, zeros)
    second, _ = begin_phase(net, 5, params, zeros)
    width = 48  # of the expand ratio that the phase before could go down to
    assert (np.diff(importance(second)[:width]) <= 1e-5).all() and (
        np.diff(importance(second)[width:]) <= 1e-5
    ).all()
    assert importance(second)[width] > importance(second)[width - 1]


def test_genes_of_other_kinds_are_elastic_from_the_first_phase_with_subnets_on():
    """Whatever they are called: operations have no order to shrink along."""
    genes = (
        Gene("image", (8, 16), "resolution", static=True),
        Gene("kernel", (0, 1, 2), "operation"),
        Gene("a", (3, 5), "kernel"),
        Gene("b", (1, 2, 3), "width"),
    )
    space = Space("named otherwise", genes)
    lows = [lowest(space, phase).tolist() for phase in PHASES]
    assert lows == [[1, 0, 1, 2], *[[1, 0, 0, 2]] * 3, [1, 0, 0, 1], [1, 0, 0, 0]]
    assert PHASES[0].subnets == 0


def test_without_expand_ratios_the_narrower_widths_of_the_phase_before_stay_in_front(randomised):
    def ops(width):
        built = PartBuilder(4, 3)
        built.conv("p/first", width, act="relu")
        built.conv("p/second", 5)
        return built.done()

    net = build(Space("wide", (Gene("inside", (8, 16, 24), "width"),), (Part("p", (0,), ops),)))
    params = randomised(net)
    found = begin_phase(net, 5, params, params)[0]
    second, before = (
        np.abs(np.asarray(tree["p"]["second"]["kernel"])).sum((0, 1, 3)) for tree in (found, params)
    )
    np.testing.assert_array_equal(second[:16], np.sort(before[:16])[::-1])
    np.testing.assert_array_equal(second[16:], np.sort(before[16:])[::-1])
