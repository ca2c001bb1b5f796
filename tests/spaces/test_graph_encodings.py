"""What hand features, operator graph and sequence of layers owe, of every space in SPACES."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.errors import UserError
from jaxnas.spaces.encodings import cell_operations
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.hand_features import HAND_FEATURES, hand_features
from jaxnas.spaces.layer_sequence import SIZES, kinds, layer_sequence
from jaxnas.spaces.operator_graph import operator_graph, ways
from jaxnas.spaces.space import Space

ENCODINGS = (hand_features, layer_sequence, operator_graph)


def smallest_instances() -> dict[str, Space]:
    """Of every space in SPACES; those of one family stand under the first one's name."""
    spaces: dict[str, Space] = {}
    for name, make in SPACES.items():
        smaller = make(32, 3, 10).smaller
        assert smaller is not None, f"{name} has no smallest instance"
        space = smaller()
        if all(type(space.structure) is not type(other.structure) for other in spaces.values()):
            spaces[name] = space
    return spaces


INSTANCES = smallest_instances()


def encoded(space, genomes):
    both = (hand_features, operator_graph)
    return jax.jit(lambda genomes: [one(space, genomes) for one in both])(genomes)


@pytest.mark.parametrize("name", INSTANCES)
def test_encodings_of_every_space(name):
    """Against the plain network, which leaves out what its result does not depend on."""
    space = INSTANCES[name]
    few = space.sample(jax.random.key(1), 2)
    genomes = jnp.concatenate([jnp.stack([space.smallest, space.largest]), few])
    hand, graph = encoded(space, genomes)
    rows = graph.nodes[..., :-1]
    assert hand.shape == (4, len(HAND_FEATURES)) and jnp.isfinite(hand).all()
    assert rows.shape == (4, len(space.parts), len(kinds(space)) + len(SIZES))
    assert rows.shape == jax.eval_shape(lambda one: layer_sequence(space, one), genomes).shape
    live = np.asarray(graph.nodes[..., -1], bool)
    assert (np.asarray(graph.reads, bool) <= live[:, None, :] * live[:, :, None]).all()
    counts = np.asarray(rows)[..., : len(kinds(space))]
    column = dict(zip(HAND_FEATURES, np.asarray(hand).T, strict=True))
    for i, genome in enumerate(np.asarray(genomes)):
        ops = space.ops(genome)
        assert column["input_pixels"][i] == space.pixels(genome)
        assert column["last_width"][i] == ops[-1].c_in
        if space.counts_unread:  # and so have more than the plain network
            continue
        named = np.isin([part.name for part in space.parts], space.owners(genome))
        assert (named <= live[i]).all()
        found = [sum(op.kind == kind for op in ops) for kind in kinds(space)]
        np.testing.assert_array_equal(counts[i].sum(axis=0), found)
        assert column["convolutions"][i] == found[kinds(space).index("conv")]
        params = sum(op.params for op in ops)
        np.testing.assert_allclose(column["log2_params"][i], np.log2(1 + params), rtol=1e-5)


def test_live_edges_are_those_between_input_and_output():
    """Of every 13th cell of NAS-Bench-201, against the encoding of cells that walks edges."""
    space = INSTANCES["nasbench201"]
    cells = np.array(list(np.ndindex(*[5] * 6)), np.int32)[::13]
    found = jax.jit(lambda cells: ways(space, cells))(cells)
    first = [i for i, part in enumerate(space.parts) if part.name.startswith("stage1/cell0/edge")]
    live = np.asarray(found.live)
    expected = np.asarray(cell_operations(space, cells))[:, 30:].reshape(-1, 6, 5)
    np.testing.assert_array_equal(live[:, first], expected[..., 1:].any(axis=-1))
    assert (live.any(axis=1) == live[:, -1]).all() and not live[:, -1].all()
    convolutions = (expected[..., 2:4].sum(axis=(1, 2))).astype(int)
    one_way = convolutions * 2 + 4  # two cells, the stem, two of the reduction and the classifier
    chain = np.isin(cells[:, [1, 3, 4]], 0).all(axis=1) & live[:, -1]
    assert chain.any()
    np.testing.assert_array_equal(np.asarray(found.depth)[chain], one_way[chain])


def test_a_space_of_genes_alone_has_none():
    space = Space("toy", (Gene("g", (1, 2)),))
    for encoding in ENCODINGS:
        with pytest.raises(UserError, match="space toy has no parts, of which the "):
            encoding(space, jnp.zeros((1, 1), jnp.int32))
