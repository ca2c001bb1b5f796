"""The MobileNet family's cost table.

Against the operators of the network, a walk over what they hold, and a count by hand.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.errors import UserError
from jaxnas.networks.costs import KINDS, Layers, macs, params, peak_activations
from jaxnas.networks.op import Op
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.published import ofa_mobilenet_v3, tiny
from jaxnas.spaces.space import Space
from jaxnas.supernets.build import build


def every_operator(shortcut: str, per_block: bool) -> Space:
    """A stage of each operator, strides over odd sizes.

    Widths that agree and widths that do not.
    """
    stages = (
        Stage((8, 16), (1, 2), (3, 5), (1,), 1, activation="relu", operator="fused_mbconv"),
        Stage(
            (16, 24), (1, 2, 3), (3, 5), (1, 2, 4), 2, squeeze_excite=True, operator="fused_mbconv"
        ),
        Stage((16, 24), (1, 2), (3,), (1,), 2, squeeze_excite=True),
        Stage((16, 24), (2, 3), (1, 3, 7), (2, 3), 1, activation="hard_swish"),
        Stage((24, 32), (1, 2), (3, 5), (1,), 2, operator="fused_mbconv"),
    )
    net = MobileNet(
        (21, 32), (8, 16), 1, stages, (16, 24), 3, 10, shortcut=shortcut, per_block=per_block
    )
    return mobilenet_space("every_operator", net)


# Cells count what their plain networks are without: test_cells.
CELLS = ("nasbench201", "darts")
CASES = {name: partial(make, 32, 3, 10) for name, make in SPACES.items() if name not in CELLS}
CASES |= {
    "tiny of 28": partial(tiny, 28),
    "ofa of other resolutions": partial(ofa_mobilenet_v3, resolutions=(132, 223)),
    "every operator, shortcuts": partial(every_operator, "always", False),
    "every operator, identities, per block": partial(every_operator, "identity", True),
}


def held(ops: tuple[Op, ...], image: int) -> list[tuple[int, int]]:
    """Activations that each operator reads, and those held while it runs.

    Results that it or a later one reads, and its output.
    """
    sizes = {-1: image} | {i: op.height * op.width * op.c_out for i, op in enumerate(ops)}
    last_use = {before: i for i, op in enumerate(ops) for before in op.inputs}
    live = [
        sizes[i] + sum(sizes[j] for j in range(-1, i) if last_use[j] >= i) for i in range(len(ops))
    ]
    return [
        (sum(sizes[before] for before in op.inputs), held)
        for op, held in zip(ops, live, strict=True)
    ]


def columns(op: Op, reads: int, live: int) -> tuple[int, ...]:
    """A row of `Layers` as the operator has it."""
    return (
        KINDS.index(op.kind),
        op.height,
        op.width,
        op.c_in,
        op.c_out,
        op.kernel,
        op.stride,
        op.groups,
        op.macs,
        op.params,
        reads,
        live,
        1,
    )


def rows_differ(table: Layers, ops: tuple[Op, ...], image: int) -> bool:
    """Whether the rows that run are not the operators."""
    rows = np.stack(table, axis=1)
    expected = [columns(op, *counts) for op, counts in zip(ops, held(ops, image), strict=True)]
    return rows[rows[:, -1] > 0].tolist() != [list(row) for row in expected]


SLOW = ("mnasnet",)  # built in 16 s under the tests' type checks; mnasnet_cifar is of its family


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(make, id=name, marks=[pytest.mark.slow] * (name in SLOW))
        for name, make in CASES.items()
    ],
)
def case(request):
    """A space, some of its genomes, their networks.

    Also their cost tables, and the size of their images.
    """
    space = request.param()
    genomes = np.concatenate(
        [[space.smallest, space.largest], np.asarray(space.sample(jax.random.key(0), 14))]
    )
    ops = build(space).ops
    images = 3 * np.array([space.pixels(genome) for genome in genomes]) ** 2
    return (
        space,
        genomes,
        [ops(genome) for genome in genomes],
        jax.device_get(cost_tables(space, genomes)),
        images.tolist(),
    )


def cost_tables(space: Space, genomes: np.ndarray) -> Layers:
    """`space.layers` of each genome, on the host, which compiles nothing."""
    return Layers(*map(jnp.stack, zip(*map(space.layers, genomes), strict=True)))


@jax.jit
def summed(tables: Layers) -> tuple[jax.Array, ...]:
    return macs(tables), params(tables), peak_activations(tables)


def one(tables: Layers, i: int) -> Layers:
    return Layers(*(column[i] for column in tables))


def test_the_cost_table_is_the_operators_in_order(case):
    space, _, networks, tables, images = case
    for i, (ops, image) in enumerate(zip(networks, images, strict=True)):
        assert not rows_differ(one(tables, i), ops, image)
    assert len(set(images)) == len(space.resolutions)  # every one is among them
    elastic = {gene.kind for gene in space.genes if len(gene.choices) > 1}
    lengths = {len(ops) for ops in networks}
    assert len(lengths) > (3 if "depth" in elastic else 1 if "width" in elastic else 0)


def test_a_wrong_table_is_seen(case):
    """One activation too few, another stride."""
    _, _, networks, tables, images = case
    first = np.eye(len(tables.live[1]), dtype=int)[0]
    right = one(tables, 1)
    assert not rows_differ(right, networks[1], images[1])
    for wrong in (
        right._replace(live=right.live - first),
        right._replace(stride=right.stride + first),
    ):
        assert rows_differ(wrong, networks[1], images[1])


def test_costs_are_those_of_the_operators(case):
    space, genomes, networks, tables, images = case
    expected = [
        [sum(op.macs for op in ops) for ops in networks],
        [sum(op.params for op in ops) for ops in networks],
        [
            max(live for _, live in held(ops, image))
            for ops, image in zip(networks, images, strict=True)
        ],
    ]
    found = space.costs(genomes)
    if found.macs.dtype == jnp.float32:  # a network of the space has 2^31 multiply-adds or more
        np.testing.assert_allclose(found.macs, expected[0], rtol=1e-7)
    else:
        assert found.macs.tolist() == expected[0]
    assert [found.params.tolist(), found.peak_activations.tolist()] == expected[1:]
    assert [count.tolist() for count in summed(tables)] == [
        [min(n, 2**31 - 1) for n in expected[0]],
        *expected[1:],
    ]
    assert len(set(expected[0])) > 12


@pytest.mark.parametrize("name", ["tiny", "every operator, identities, per block"])
def test_the_cost_table_is_the_same_when_traced(name):
    space = CASES[name]()
    genomes = space.sample(jax.random.key(1), 10)
    traced = jax.jit(jax.vmap(space.layers))(genomes)
    for found, expected in zip(traced, cost_tables(space, np.asarray(genomes)), strict=True):
        assert found.dtype == expected.dtype == jnp.int32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["tiny", "raptor"])
def test_costs_take_any_shape(name):
    space = CASES[name]()
    genomes = np.asarray(space.sample(jax.random.key(0), 6))
    together = space.costs(genomes)
    assert [int(cost) for cost in space.costs(genomes[3])] == [int(cost[3]) for cost in together]
    folded = space.costs(jnp.asarray(genomes).reshape(2, 3, -1))
    assert [cost.shape for cost in folded] == 3 * [(2, 3)]
    np.testing.assert_array_equal(np.stack(folded).reshape(3, -1), np.stack(together))


def test_genes_that_do_not_matter_cost_nothing(case):
    space, genomes, *_ = case
    np.testing.assert_array_equal(
        np.stack(space.costs(space.canonical(genomes))), np.stack(space.costs(genomes))
    )


def test_multiply_adds_beyond_32_bits_are_counted():
    """Exactly by the operators, to a float32's precision in a population."""
    net = partial(MobileNet, first_widths=(64,), first_stride=1, last_widths=(64,), channels=3)
    stage = Stage((64,), (1,), (3,), (1,), 2)
    wide = mobilenet_space("wide", net((256, 512), stages=(stage,), classes=10))
    exact = [sum(op.macs for op in wide.ops(genome)) for genome in (wide.smallest, wide.largest)]
    assert exact[0] < 2**31 < exact[1]
    found = wide.costs(np.stack([wide.smallest, wide.largest])).macs
    np.testing.assert_allclose(found, exact, rtol=1e-7)


def test_a_space_whose_costs_do_not_fit_is_refused():
    stage = Stage((2**14,), (1,), (31,), (1,), 2, operator="fused_mbconv")
    with pytest.raises(UserError, match=r"space wide may have \d+ weights, more than 536870911"):
        mobilenet_space("wide", MobileNet((8,), (2**14,), 1, (stage,), (64,), 3, 10))


def test_a_network_counted_by_hand():
    """8x8 grey; stem 8 wide to 4x4.

    A block 8 -> 24 (middle 16) to 2x2 with squeeze-excite (8) and a shortcut; head.
    """
    stage = Stage((24,), (1, 2), (3,), (2,), 2, True)
    some = mobilenet_space("hand", MobileNet((8,), (8,), 2, (stage,), (16,), 1, 4))
    stem = 16 * 8 * 9, 8 * 9 + 16
    expand = 16 * 8 * 16, 8 * 16 + 32
    depthwise = 4 * 16 * 9, 16 * 9 + 32
    squeeze = (16 * 8, 16 * 8 + 8)
    excite = (16 * 8, 16 * 8 + 16)
    project = 4 * 16 * 24, 16 * 24 + 48
    shortcut = 4 * 8 * 24, 8 * 24
    head = (4 * 24 * 144, 24 * 144 + 288), (144 * 16, 144 * 16), (16 * 4, 16 * 4 + 4)
    one = np.sum([stem, expand, depthwise, squeeze, excite, project, shortcut, *head], axis=0)
    more = (
        (4 * 24 * 48, 24 * 48 + 96),
        (4 * 48 * 9, 48 * 9 + 96),
        (48 * 16, 48 * 16 + 16),
        (48 * 16, 48 * 16 + 48),
        (4 * 48 * 24, 48 * 24 + 48),
    )
    counted = np.stack(some.costs(np.stack([some.smallest, some.largest]))[:2], axis=1)
    np.testing.assert_array_equal(counted, [one, one + np.sum(more, axis=0)])
