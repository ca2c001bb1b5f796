"""Spaces with fewer choices: genes, sizes, settings, and what is refused."""

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.pruned import networks_left, prune, to_pruned


def test_genes_that_can_no_longer_matter_keep_one_value(per_block):
    """Without a second block its genes are decided; the others keep what they have."""
    depth = next(gene for gene in per_block.genes if gene.kind == "depth")
    brought = [gene.name for gene in per_block.genes if gene.needs]
    pruned = prune(per_block, {depth.name: (1,)})
    left = {gene.name: gene for gene in pruned.genes}
    assert brought and all(len(left[name].choices) == 1 for name in brought)
    assert all(left[name].needs is None for name in brought)
    one_block = per_block.sizes[[g.needs is None and g.kind != "depth" for g in per_block.genes]]
    assert pruned.size() == np.prod(one_block)
    kept = np.arange(per_block.sizes.max()) < per_block.sizes[:, None]
    kept[[gene.name for gene in per_block.genes].index(depth.name), 1] = False
    assert networks_left(per_block, kept) == pruned.size()


def test_where_the_needs_are_always_met_genes_matter_always(per_block):
    depth = next(gene for gene in per_block.genes if gene.kind == "depth")
    pruned = prune(per_block, {depth.name: (2,)})
    assert np.asarray(pruned.alive(pruned.smallest)).all()
    assert pruned.size() == np.prod(pruned.sizes) < per_block.size()


def test_settings_say_what_is_left_and_pruning_again_adds_to_it():
    space = nasbench201(8, 1, 4, cells=1, width=4)
    once = prune(space, {"edge_0_1": (0, 3), "edge_0_2": (1, 2, 3)})
    twice = prune(once, {"edge_0_1": (3,), "edge_2_3": (3, 1)})
    choices = {"edge_0_1": [3], "edge_0_2": [1, 2, 3], "edge_2_3": [1, 3]}
    assert twice.settings == {**space.settings, "choices": choices}
    assert hash(twice) != hash(once)  # compiled programs are known by their space
    assert twice.completed(twice.settings) == {
        name: value for name, value in twice.settings.items() if name != "name"
    }
    assert twice.settings == prune(space, choices).settings and twice.size() == 3 * 2 * 5**3
    assert prune(space, {"edge_0_1": range(5)}) is space
    with pytest.raises(KeyError):
        twice.completed(space.settings)  # a file of the whole space


def test_genomes_of_networks_that_are_gone_have_no_place():
    space = nasbench201(8, 1, 4, cells=1, width=4)
    pruned = prune(space, {"edge_0_1": (1, 3)})
    genomes = np.array([[3, 4, 0, 0, 0, 2], [2, 4, 0, 0, 0, 2]], np.int32)
    assert to_pruned(space, pruned, genomes).tolist() == [[1, 4, 0, 0, 0, 2], [-1, 4, 0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"edge_9_9": (1,)}, "has no gene 'edge_9_9' to prune; genes are edge_0_1, "),
        ({"edge_0_1": (1, 7)}, r"must be some of \(0, 1, 2, 3, 4\), got \(1, 7\)"),
        ({"edge_0_1": ()}, r"must be some of .*, got \(\)"),
    ],
)
def test_what_cannot_be_pruned_is_refused(choices, message):
    with pytest.raises(UserError, match=message):
        prune(nasbench201(8, 1, 4, cells=1, width=4), choices)
