"""Pruned spaces: every network left is the one that it was, with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.spaces.pruned import kept_choices, prune, to_pruned
from jaxnas.supernets.build import build
from jaxnas.supernets.pruned import pruned_params
from jaxnas.supernets.supernet import take

KERNELS = MobileNet(
    (8,),
    (8, 16),
    2,
    (Stage((8, 16), (1, 2, 3), (3, 5, 7), (2, 3), 2, True),),
    (16, 24),
    3,
    4,
    per_block=True,
    kernel_transform=True,
)


def instances():
    """The smallest of each structure in SPACES, and one with transformed kernels."""
    found = {"kernels": mobilenet_space("kernels", KERNELS)}
    for name, make in SPACES.items():
        smaller = make(32, 3, 10).smaller
        assert smaller is not None
        space = smaller()
        if space.structure not in [one.structure for one in found.values()]:
            found[name] = space
    return found


INSTANCES = instances()


def some(space, seed):
    """Which choices are left where each one stays with a probability of a third, or more."""
    every = np.arange(space.sizes.max()) < space.sizes[:, None]
    random = np.random.default_rng(seed)
    kept = every & (random.random(every.shape) < 0.33)
    kept[np.arange(len(kept)), random.integers(space.sizes)] = True
    return kept


@pytest.mark.parametrize("name", INSTANCES)
def test_networks_and_their_weights_stay(name, randomised):
    """The plain network of every genome, and its share of the weights, to the bit."""
    space = INSTANCES[name]
    params = jax.device_get(randomised(build(space)))
    pruned = prune(space, kept_choices(space, some(space, 1)))
    assert pruned.size() < space.size()
    found = jax.device_get(pruned_params(params, pruned))
    shapes = jax.eval_shape(build(pruned).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    drawn = np.random.default_rng(0).integers(pruned.sizes, size=(2, len(pruned.genes)))
    genomes = np.array([pruned.smallest, pruned.largest, *drawn], np.int32)
    before = np.array([space.encode(pruned.decode(genome)) for genome in genomes])
    again = np.asarray(pruned.canonical(to_pruned(space, pruned, before)))
    np.testing.assert_array_equal(again, pruned.canonical(genomes))
    for genome, whole in zip(genomes, before, strict=True):
        ops = pruned.ops(genome)
        assert ops == space.ops(whole)
        jax.tree.map(np.testing.assert_array_equal, take(found, ops), take(params, ops))


def test_what_no_network_has_is_gone(edges_space):
    """An edge without convolutions has no weights; its gene is none of its part."""
    space = edges_space(8, 1, 4)
    pruned = prune(space, {"first": (1,), "second": (0, 3)})
    params = build(pruned).init(jax.random.key(0))
    assert {*params} == {"stem", "second", "third", "around", "classifier"}
    assert {*params["second"]} == {"3"} and {*params["third"]} == {"1", "3"}
    assert [part.genes for part in pruned.parts[1:4]] == [(), (1,), (2,)]
    assert pruned.size() == 2 * 4 * 4
    assert "first" in {gene.name for gene in pruned.genes}


def test_a_pruned_supernet_computes_what_the_whole_one_did(edges_space, randomised):
    """Masked, switched and soft, by statistics of the batch."""
    space = edges_space(8, 1, 4)
    net = build(space)
    params = randomised(net)
    pruned = prune(space, {"first": (1, 3), "second": (2,), "third": (0, 1, 3)})
    small = build(pruned)
    own = pruned_params(params, pruned)
    images = jax.random.normal(jax.random.key(0), (8, 8, 8, 1))
    genome = pruned.encode({"first": 3, "second": 2, "third": 1, "around": 2})
    before = space.encode(pruned.decode(genome))
    expected = jax.jit(net.switched_training)(params, before, images)
    for spelling in (
        jax.jit(small.switched_training)(own, genome, images),
        jax.jit(lambda *given: small.apply(*given)[0])(own, images, genome),
        jax.jit(lambda *given: small.apply(*given)[0])(
            own, images, jax.nn.one_hot(genome, int(pruned.sizes.max()))
        ),
    ):
        np.testing.assert_allclose(spelling, expected, atol=1e-4 * np.abs(expected).max())
