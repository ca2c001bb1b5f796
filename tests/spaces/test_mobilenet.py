"""The MobileNet spaces: their genes, and their cost table against the operators of the network and against a count by hand."""

import jax
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.spaces.mobilenet import MobileNet, Stage, cifar, make_divisible, mobilenet_space, tiny
from jaxnas.supernets.mobilenet import build
from jaxnas.workload import macs, params

STAGES = [f"mb{i}" for i in range(1, 8)]
NAMES = [
    "resolution",
    "first_conv_width",
    *(f"{mb}_width" for mb in STAGES),
    "last_conv_width",
    *(f"{mb}_depth" for mb in STAGES),
    *(f"{mb}_kernel" for mb in STAGES),
    *(f"{mb}_expand" for mb in STAGES),
]


def table_costs(space):
    """(MACs, parameters) of a population, one program."""
    return jax.jit(jax.vmap(lambda genome: (macs(space.layers(genome)), params(space.layers(genome)))))


@pytest.mark.parametrize("make", SPACES.values(), ids=SPACES.keys())
def test_31_genes_in_the_order_of_attentive_nas(make):
    genes = make(32, 3, 10).genes
    assert [gene.name for gene in genes] == NAMES
    assert len(genes) == 31
    assert [gene.name for gene in genes if gene.static] == ["resolution"]
    assert all(gene.choices == tuple(sorted(set(gene.choices))) for gene in genes)


def test_number_of_genomes():
    widths, depths, expands = 2 * (2 * 2 * 2 * 3 * 3 * 2 * 2) * 2, 1 * 2 * 2 * 3 * 3 * 3 * 1, 1 * 2 * 3 * 3 * 3 * 1 * 1
    assert tiny().size() == widths * depths * 2**7 * expands == 859_963_392


def test_images_decide_the_resolutions():
    assert tiny(28).genes[0].choices == (28,)
    assert cifar(32).genes[0].choices == (24, 32)


@pytest.mark.parametrize("make, image_size", [(tiny, 32), (tiny, 16), (tiny, 28), (cifar, 32)])
def test_the_cost_table_equals_the_operators(make, image_size):
    some = make(image_size, 3, 10)
    genomes = np.concatenate([[some.smallest, some.largest], np.asarray(some.sample(jax.random.key(0), 100))])
    net = build(some)
    ops = [net.ops(genome) for genome in genomes]
    found_macs, found_params = table_costs(some)(genomes)
    assert found_macs.tolist() == [sum(op.macs for op in network) for network in ops]
    assert found_params.tolist() == [sum(op.params for op in network) for network in ops]
    assert len(set(found_macs.tolist())) > 90
    assert len(np.unique(genomes[:, 0])) == len(some.genes[0].choices)  # every resolution is among them


@pytest.mark.parametrize("make, least, most", [(tiny, 0.3e6, 3.5e6), (cifar, 6e6, 70e6)])
def test_the_range_of_macs(make, least, most):
    some = make(32, 3, 10)
    small, large = table_costs(some)(np.stack([some.smallest, some.largest]))[0].tolist()
    assert least < small < 1.5 * least
    assert 0.9 * most < large < most


def test_a_network_counted_by_hand():
    """8x8 grey; stem 8 wide to 4x4; a block 8 -> 24 (middle 16) to 2x2 with squeeze-excite (8) and a shortcut; head."""
    stage = Stage((24,), (1, 2), (3,), (2,), 2, True)
    some = mobilenet_space("hand", MobileNet((8,), (8,), 2, (stage,), (16,), 1, 4))
    stem = 16 * 8 * 9, 8 * 9 + 16
    expand = 16 * 8 * 16, 8 * 16 + 32
    depthwise = 4 * 16 * 9, 16 * 9 + 32
    squeeze, excite = (16 * 8, 16 * 8 + 8), (16 * 8, 16 * 8 + 16)
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
    counted = np.stack(table_costs(some)(np.stack([some.smallest, some.largest])), axis=1)
    np.testing.assert_array_equal(counted, [one, one + np.sum(more, axis=0)])


def test_make_divisible_follows_its_definition():
    values = range(1, 200)
    rounded = [make_divisible(value) for value in values]
    assert all(r % 8 == 0 and r >= 0.9 * v for r, v in zip(rounded, values, strict=True))
    assert all(abs(r - v) <= 4 or v < 8 or r - 8 < 0.9 * v for r, v in zip(rounded, values, strict=True))
    assert jax.jit(make_divisible)(np.arange(1, 200, dtype=np.int32)).tolist() == rounded
