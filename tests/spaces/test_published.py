"""The published spaces against what their papers and code say of them."""

import jax
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.spaces.published import (
    attentive_nas,
    attentive_nas_cifar,
    cifar,
    ofa_mobilenet_v3,
    ofa_mobilenet_v3_cifar,
    residual,
    tiny,
)

STAGES = [f"mb{i}" for i in range(1, 8)]
ATTENTIVE_NAMES = [
    "resolution",
    "first_conv_width",
    *(f"{mb}_width" for mb in STAGES),
    "last_conv_width",
    *(f"{mb}_depth" for mb in STAGES),
    *(f"{mb}_kernel" for mb in STAGES),
    *(f"{mb}_expand" for mb in STAGES),
]

# Resolution, nine widths, seven depths, seven kernels, seven expands: MACs. AlphaNet's A5 base is
# published as 596 M.
ATTENTIVE_MODELS = {
    "A0": (
        "192 16 16 24 32 64 112 192 216 1792  1 3 3 3 3 3 1  3 3 3 3 3 3 3  1 4 4 4 4 6 6",
        203_389_568,
    ),
    "A1": (
        "224 16 16 24 32 64 112 192 216 1984  1 3 3 3 3 3 1  3 3 3 5 3 5 3  1 4 4 4 4 6 6",
        279_238_816,
    ),
    "A2": (
        "224 16 16 24 32 64 112 200 224 1984  1 3 3 3 3 4 1  3 3 3 3 3 5 3  1 4 5 4 4 6 6",
        316_730_080,
    ),
    "A3": (
        "224 16 16 24 32 64 112 208 224 1984  2 3 3 4 3 5 1  3 3 3 5 3 3 3  1 4 4 4 4 6 6",
        356_518_400,
    ),
    "A4": (
        "256 16 16 24 32 64 112 192 216 1984  1 3 3 4 3 5 1  3 3 3 5 3 5 3  1 4 4 5 4 6 6",
        443_530_752,
    ),
    "A5 of AttentiveNAS": (
        "256 16 16 24 32 72 112 192 216 1792  1 3 3 3 4 6 1  3 3 3 5 3 3 3  1 4 5 4 4 6 6",
        490_520_064,
    ),
    "A5 small of AlphaNet": (
        "256 16 16 24 32 64 112 208 216 1984  1 3 3 4 4 5 1  3 3 3 3 3 5 3  1 4 4 5 4 6 6",
        491_481_088,
    ),
    "A5 base of AlphaNet": (
        "288 16 16 24 32 64 112 200 216 1984  2 3 4 3 3 5 1  3 3 5 5 3 3 3  1 4 4 4 5 6 6",
        594_786_000,
    ),
    "A6": (
        "288 16 16 24 32 64 112 216 224 1984  1 3 3 4 4 6 1  3 3 3 3 3 5 3  1 4 6 5 4 6 6",
        709_007_232,
    ),
}

# What Once-for-All's own counter (which adds up in float32) gives, to 1e-7: width, resolution,
# genome; MACs, parameters.
LARGEST = "0" * 9 + "2" * 5 + "0" + "2" * 20 + "0" + "2" * 20
RANDOM = "00000000010102010002001100100122122020110200012022222122"
OFA_NETWORKS = {
    "smallest": (1.0, 160, "0" * 56, 63_240_528, 3_410_792),
    "largest": (1.0, 224, LARGEST, 566_170_688, 7_664_760),
    "random": (1.0, 224, RANDOM, 262_937_344, 6_021_480),
    "smallest of width 1.2": (1.2, 160, "0" * 56, 100_320_888, 4_602_456),
    "largest of width 1.2": (1.2, 224, LARGEST, 843_101_056, 10_701_632),
    "random of width 1.2": (1.2, 224, RANDOM, 410_201_664, 8_358_536),
}


@pytest.fixture(scope="module")
def attentive():
    return attentive_nas()


@pytest.mark.parametrize("make", [attentive_nas, attentive_nas_cifar, cifar, tiny])
def test_31_genes_in_the_order_of_attentive_nas(make):
    space = make()
    assert [gene.name for gene in space.genes] == ATTENTIVE_NAMES
    assert [gene.name for gene in space.genes if gene.static] == ["resolution"]


@pytest.mark.parametrize("make", SPACES.values(), ids=SPACES.keys())
def test_choices_are_sorted_and_the_resolution_comes_first(make):
    """Or it is that of the images, and no gene."""
    space = make(32, 3, 10)
    named = [gene.name for gene in space.genes].count("resolution")
    assert (space.static, named) in ((0, 1), (None, 0))
    assert space.static == 0 or space.resolutions == (32,)
    assert all(gene.choices == tuple(sorted(set(gene.choices))) for gene in space.genes)


@pytest.mark.parametrize("values, macs", ATTENTIVE_MODELS.values(), ids=ATTENTIVE_MODELS.keys())
def test_macs_of_the_published_attentive_models(attentive, values, macs):
    values = [int(value) for value in values.split()]
    genome = attentive.encode(dict(zip(ATTENTIVE_NAMES, values, strict=True)))
    assert int(attentive.costs(genome).macs) == macs


def test_size_and_range_of_attentive_nas(attentive):
    assert attentive.size() == attentive_nas_cifar().size() == 440_301_256_704
    assert attentive.costs(np.stack([attentive.smallest, attentive.largest])).macs.tolist() == [
        203_389_568,
        1_939_335_808,
    ]


def test_macs_of_uniform_samples_of_attentive_nas(attentive):
    """Means by resolution and percentiles, known from another 10^6 draws."""
    genomes = jax.jit(attentive.sample, static_argnums=1)(jax.random.key(0), 100_000)
    mmacs = np.asarray(attentive.costs(genomes).macs) / 1e6
    means = [mmacs[np.asarray(genomes[:, 0]) == i].mean() for i in range(4)]
    np.testing.assert_allclose(means, [466, 630, 820, 1035], rtol=0.01)
    np.testing.assert_allclose(
        np.percentile(mmacs, [1, 5, 50, 95, 99]), [346, 402, 709, 1174, 1330], rtol=0.01
    )
    assert mmacs.min() > 203.3 and mmacs.max() < 1939.4


def test_size_of_once_for_all():
    assert ofa_mobilenet_v3().size() == 5 * 7371**5
    assert ofa_mobilenet_v3(resolutions=tuple(range(128, 225, 4))).size() == 25 * 7371**5
    assert ofa_mobilenet_v3_cifar().size() == 3 * 7371**5


@pytest.mark.parametrize(
    "width, resolution, genes, macs, params", OFA_NETWORKS.values(), ids=OFA_NETWORKS.keys()
)
def test_costs_of_once_for_all_are_those_of_its_own_code(width, resolution, genes, macs, params):
    space = ofa_mobilenet_v3(width=width)
    genome = np.array([space.resolutions.index(resolution), *map(int, genes)], np.int32)
    found = space.costs(genome)
    assert abs(int(found.macs) - macs) < 1e-7 * macs
    assert int(found.params) == params


def test_genes_of_once_for_all():
    """A kernel and an expand ratio for each of 20 blocks.

    Of these the third and fourth of a stage may be dead.
    """
    genes = {gene.name: gene for gene in ofa_mobilenet_v3().genes}
    elastic = {name: gene for name, gene in genes.items() if len(gene.choices) > 1}
    assert len(elastic) == 1 + 5 + 20 + 20
    assert elastic["mb2_block0_kernel"].choices == (3, 5, 7) and elastic[
        "mb6_block3_expand"
    ].choices == (3, 4, 6)
    assert [genes[f"mb4_block{b}_kernel"].needs for b in range(4)] == [
        None,
        None,
        ("mb4_depth", (3, 4)),
        ("mb4_depth", (4,)),
    ]


def test_number_of_tiny_genomes():
    widths = 2 * (2 * 2 * 2 * 3 * 3 * 2 * 2) * 2
    depths = 1 * 2 * 2 * 3 * 3 * 3 * 1
    expands = 1 * 2 * 3 * 3 * 3 * 1 * 1
    assert tiny().size() == widths * depths * 2**7 * expands == 859_963_392


def test_images_decide_the_resolutions():
    assert tiny(28).resolutions == (28,)
    assert cifar(32).resolutions == (24, 32)
    assert attentive_nas_cifar(32).resolutions == (24, 28, 32, 36)
    assert ofa_mobilenet_v3_cifar(32).resolutions == (24, 28, 32)


@pytest.mark.parametrize(
    "make, least, most", [(tiny, 0.3e6, 3.5e6), (residual, 2e6, 38e6), (cifar, 6e6, 70e6)]
)
def test_the_range_of_macs(make, least, most):
    space = make(32, 3, 10)
    small, large = space.costs(np.stack([space.smallest, space.largest])).macs.tolist()
    assert least < small < 1.5 * least
    assert 0.9 * most < large < most
