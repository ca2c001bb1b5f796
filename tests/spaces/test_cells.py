"""Spaces of cells against published counts, and what stands on edges that lead nowhere."""

from functools import partial
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from jaxnas.errors import UserError
from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits, prove, require
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.subnet import Subnet, forward
from jaxnas.spaces.cells import OPERATIONS, edge
from jaxnas.spaces.darts import Darts, darts, from_genotype, network_parts
from jaxnas.spaces.nasbench201 import CONV1, CONV3, NONE, SKIP, nasbench201
from jaxnas.spaces.nasbench201_network import NasBench201
from jaxnas.spaces.parts import Part, at, of_every_choice, one_list
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take

TABLE = Path(__file__).parents[2].parent / "shared" / "data" / "nb201_tables.npz"


@pytest.fixture(scope="module")
def table():
    if not TABLE.exists():
        pytest.skip(f"needs {TABLE.name} in ../shared/data")
    return np.load(TABLE, allow_pickle=False)


@pytest.mark.parametrize(
    ("data", "pixels", "classes"), [("cifar10", 32, 10), ("imagenet16", 16, 120)]
)
def test_all_cells_cost_what_the_table_says(table, data, pixels, classes):
    """Multiply-adds and parameters of the published network, dead edges and all."""
    found = nasbench201(pixels, 3, classes).costs(table["arch"].astype(np.int32))
    np.testing.assert_array_equal(found.macs, table[f"macs_{data}"])
    np.testing.assert_array_equal(found.params, table[f"params_{data}"])


V2 = {
    "normal": "sep3 0, sep3 1, sep3 0, sep3 1, sep3 1, skip 0, skip 0, dil3 2",
    "reduce": "max 0, max 1, skip 2, max 1, max 0, skip 2, skip 2, max 1",
}
# Chen et al., "Progressive DARTS", ICCV 2019; counted in their repository's issue 7.
PROGRESSIVE = {
    "normal": "skip 0, dil3 1, skip 0, sep3 1, sep3 1, sep3 3, sep3 0, dil5 4",
    "reduce": "avg 0, sep5 1, sep3 0, dil5 2, max 0, dil3 1, dil3 1, dil5 3",
}
WORDS = {"skip": "skip_connect", "max": "max_pool_3x3", "avg": "avg_pool_3x3"} | {
    f"{short}{k}": f"{short}_conv_{k}x{k}" for short in ("sep", "dil") for k in (3, 5)
}


def genome(space, cells):
    def edges(text):
        pairs = (pair.split() for pair in text.split(", "))
        return [(WORDS[operation], int(source)) for operation, source in pairs]

    return from_genotype(space, edges(cells["normal"]), edges(cells["reduce"]))


def test_published_cells_of_darts_have_their_parameters():
    """20 cells of 36 channels; a space of 8 has the same genes.

    Parts that differ in their names alone are counted once.
    """
    parts = network_parts(Darts(20, 36, reductions=(6, 13)))
    found = []
    for cells in (V2, PROGRESSIVE):
        values = list(darts().decode(genome(darts(), cells)).values())
        known = {}
        for part in parts:
            own = cast(partial, part.ops)
            sizes = tuple(size for size in own.args if not isinstance(size, str))
            alike = (own.func, sizes, *(values[gene] for gene in part.genes))
            if alike not in known:
                ops = [op for op in own(*alike[2:]) if op.repeat and op.kind in OPERATORS]
                known[alike] = sum(op.params for op in ops)
            found.append(known[alike])
    assert sum(found[: len(parts)]) == pytest.approx(3.3e6, abs=0.05e6)
    assert sum(found[len(parts) :]) == 3_433_798


def test_a_genotype_that_is_none_is_refused():
    space = small_darts()
    with pytest.raises(UserError, match=r"node 3 of darts reads two results before it"):
        from_genotype(space, *[[("none", 0), ("none", 1), ("none", 2), ("none", 2)]] * 2)
    with pytest.raises(UserError, match="unknown operation of darts 'pool'; known: avg_pool_3x3"):
        from_genotype(space, *[[("none", 0), ("pool", 1), ("none", 0), ("none", 2)]] * 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 0}, "width of darts must be at least 1, got 0"),
        ({"reductions": (2, 8)}, r"reductions of darts must be some, not all, of its 8 cells"),
        ({"reductions": ()}, "must be some, not all"),
        ({"pixels": 30}, "pixels that are a multiple of 4, got 30"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        Darts(**wrong)
    with pytest.raises(UserError, match="cells of nasbench201 must be at least 1, got 0"):
        NasBench201(cells=0)


def small_darts():
    smaller = darts().smaller
    assert smaller is not None
    return smaller()


def small_cells():
    smaller = nasbench201().smaller
    assert smaller is not None
    return smaller()


WEIGHTS = {  # of an edge of 6 channels, without norms
    "none": 0,
    "skip_connect": 0,
    "nor_conv_1x1": 36,
    "nor_conv_3x3": 9 * 36,
    "avg_pool_3x3": 0,
    "max_pool_3x3": 0,
    "sep_conv_3x3": 2 * (9 * 6 + 36),
    "sep_conv_5x5": 2 * (25 * 6 + 36),
    "dil_conv_3x3": 9 * 6 + 36,
    "dil_conv_5x5": 25 * 6 + 36,
}


@pytest.mark.parametrize("stride", [1, 2])
def test_operations_of_an_edge(stride):
    """Each alone has weights of its own, and all give a map of one size."""
    names = list(OPERATIONS)
    part = Part("edge", (0,), partial(edge, "edge", names, 8, 6, stride))
    every = of_every_choice(part, [range(len(names))])
    assert {(*op.height.ravel(), *op.c_out.ravel()) for op in every[-1:]} == {
        (8 // stride,) * len(names) + (6,) * len(names)
    }
    for i, name in enumerate(names):
        there = [op for op in at(every, (i,)) if op.repeat and op.kind == "conv"]
        reduces = name == "skip_connect" and stride == 2  # two halves of a 1x1 convolution
        assert (
            sum(op.params - 2 * op.c_out * op.norm for op in there) == WEIGHTS[name] + 36 * reduces
        )
        assert any(op.stride == 2 for op in there) == (stride == 2 and bool(there))


def peak(space, genome):
    """The most that is held, counted one operator after the other; operators may have no reader."""
    ops, _, _ = one_list(space.parts, space.part_ops(genome))
    there = [i for i, op in enumerate(ops) if op.repeat]
    last = {j: i for i in there for j in ops[i].inputs}
    sizes = {i: op.height * op.width * op.c_out for i, op in enumerate(ops)}
    sizes[-1] = space.image[0] ** 2 * space.image[1]
    held = [
        sizes[i] + sum(size for j, size in sizes.items() if j < i <= last.get(j, -2)) for i in there
    ]
    return max(held)


@pytest.mark.parametrize("make", [small_cells, small_darts])
def test_what_cells_hold_and_cost_with_their_dead_edges(make):
    space = make()
    genomes = np.concatenate(
        [[space.smallest, space.largest], np.asarray(space.sample(jax.random.key(0), 12))]
    )
    found = space.costs(genomes)
    dead = 0
    for i, genome in enumerate(genomes):
        ops, _, _ = one_list(space.parts, space.part_ops(genome))
        assert found.macs[i] == sum(op.repeat * op.macs for op in ops)
        assert found.params[i] == sum(op.repeat * op.params for op in ops)
        assert found.peak_activations[i] == peak(space, genome)
        if i < 3:
            table = space.layers(genome)
            assert (table.live * table.repeat).max() == found.peak_activations[i]
        dead += sum(op.macs for op in space.ops(genome)) < int(found.macs[i])
    assert dead > 0


# Edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3.
DEAD = {
    "nothing at all": [NONE] * 6,
    "convolutions of nothing": [NONE, NONE, CONV3, NONE, CONV1, CONV3],
    "edges without a way on": [CONV3, CONV1, NONE, SKIP, NONE, NONE],
    "a node without a way in": [NONE, CONV1, CONV3, NONE, CONV3, SKIP],
}


@pytest.mark.parametrize("name", DEAD)
def test_dead_edges_are_numbers_and_are_not_exported(name, randomised):
    """Batch norm of a constant, forward and backward; the export has no convolution too many."""
    space = small_cells()
    net = build(space)
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (4, 4, 4, 3))
    ops = space.ops(np.array(DEAD[name], np.int32))
    weights = take(params, ops)

    def loss(weights):
        logits, stats = forward(ops, weights, images)
        return jnp.sum(jnp.sin(logits)), stats

    (_, stats), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((stats, gradient)))
    subnet = Subnet(ops, weights, jax.device_get(stats))
    model = emit(subnet, 4, 4, 3)
    require(prove(model, subnet, images))
    assert np.isfinite(onnx_logits(quantise(model, images), images)).all()
    nodes = [node.name for node in onnx.load_model_from_string(model).graph.node]
    edges = [node for node in nodes if "/edge_" in node]
    assert len(edges) == {"a node without a way in": 2}.get(name, 0)
