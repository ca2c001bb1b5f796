"""Spaces of networks and chips together: the network is what it is on any chip."""

import jax
import numpy as np

from jaxnas.spaces.gene import Gene
from jaxnas.spaces.joint import alone, chip_values, joint, of_network, on_one_chip
from jaxnas.supernets.build import build

CHIP = (Gene("memory_bytes", (1000, 2000, 4000), "chip"), Gene("lanes", (8, 16), "chip"))


def test_the_genes_of_a_chip_stand_behind_those_of_the_network(small_mobilenet):
    space = small_mobilenet((8, 12), 1, 4)
    both = joint(space, CHIP)
    assert both.genes == (*space.genes, *CHIP) and both.parts == space.parts
    assert alone(both) == space and alone(space) is space and joint(space, ()) is space
    assert both.size() == 6 * space.size() and both.static == space.static
    assert both.settings == space.settings | {
        "chip": {"memory_bytes": [1000, 2000, 4000], "lanes": [8, 16]}
    }
    assert both.steps[-2:].tolist() == [True, False]  # mutated step by step


def test_a_network_is_the_same_on_every_chip(small_mobilenet):
    space = small_mobilenet((8, 12), 1, 4)
    both = joint(space, CHIP)
    genomes = np.asarray(both.sample(jax.random.key(0), 5))
    networks = of_network(both, genomes)
    net, other = build(both), build(space)
    assert jax.eval_shape(net.init, jax.random.key(0)) == jax.eval_shape(
        other.init, jax.random.key(0)
    )
    for genome, network in zip(genomes, networks, strict=True):
        assert net.ops(genome) == other.ops(network)
        for one, two in zip(both.layers(genome), space.layers(network), strict=True):
            np.testing.assert_array_equal(one, two)
    for one, two in zip(both.costs(genomes), space.costs(networks), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(of_network(both, on_one_chip(both, genomes)), networks)
    assert not on_one_chip(both, genomes)[:, -2:].any()


def test_the_values_of_a_chip_are_those_of_its_genes(small_mobilenet):
    both = joint(small_mobilenet((8, 12), 1, 4), CHIP)
    genome = both.encode(both.decode(both.smallest) | {"memory_bytes": 2000, "lanes": 16})
    assert chip_values(both, genome) == {"memory_bytes": 2000, "lanes": 16}
    traced = jax.jit(lambda genome: chip_values(both, genome))(genome)
    assert {name: int(value) for name, value in traced.items()} == chip_values(both, genome)
