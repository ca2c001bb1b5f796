"""AnalogNAS's space: the published decisions, widths, one network counted by hand."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.resnet_like import (
    alone,
    features,
    published,
    resnet_like,
    resnet_like_space,
)
from jaxnas.spaces.resnet_like_structure import ResnetLike, ResnetLikeGroup, width

NAMES = ["out_channel0", "M", "R1", "R2", "R3", "R4", "R5"] + [
    f"{kind}{group}" for group in range(1, 6) for kind in ("convblock", "widenfact", "B")
]
# Two basic blocks of two branches; a group that is not there; a bottleneck.
NETWORK = {"out_channel0": 12, "M": 3, "R1": 2, "R2": 0, "R3": 1, "R4": 5, "R5": 5}
NETWORK |= {"convblock1": 1, "widening1": 125, "B1": 2, "convblock3": 2, "widening3": 200, "B3": 1}
REST = {f"{kind}{group}": 1 for kind in ("convblock", "B") for group in (2, 4, 5)}
REST |= {f"widening{group}": 200 for group in (2, 4, 5)}


@pytest.fixture(scope="module")
def space():
    return published(32, 3, 10)


@pytest.fixture(scope="module")
def genome(space):
    return space.encode(NETWORK | REST)


def test_the_genes_are_the_published_ones_in_their_order(space):
    found = [gene.name.replace("widening", "widenfact") for gene in space.genes]
    assert found == NAMES
    choices = {gene.name: gene.choices for gene in space.genes}
    assert choices["out_channel0"] == (8, 12, 16, 32, 48, 64)
    assert choices["M"] == (1, 2, 3, 4, 5)
    assert choices["R1"] == tuple(range(1, 16)) and choices["R5"] == tuple(range(16))
    assert {choices[f"B{group}"] for group in range(1, 6)} == {(1, 2, 3, 4)}
    factors = [100 / widening for widening in choices["widening1"]]
    assert (min(factors), max(factors)) == (0.5, 0.8)


def test_features_are_the_published_ones(space, genome):
    found = dict(zip(NAMES, np.asarray(features(space, genome[None]))[0], strict=True))
    there = {"out_channel0": 12, "M": 3, "R1": 2, "R3": 1, "convblock1": 1, "B1": 2}
    there |= {"convblock3": 2, "B3": 1, "widenfact1": 0.8, "widenfact3": 0.5}
    expected = dict.fromkeys(NAMES, 0.0) | there
    assert found == pytest.approx(expected)
    small = resnet_like()
    columns = np.asarray(features(small, small.sample(jax.random.key(0), 50)))
    assert columns.shape == (50, 22) and not columns[:, 5:7].any()
    np.testing.assert_allclose(np.unique(columns[:, 8]), [0.5, 0.625, 0.8], rtol=1e-6)


def test_features_of_one_network_are_equal(space):
    """Those of genomes that differ where it does not matter."""
    genomes = space.sample(jax.random.key(1), 200)
    np.testing.assert_array_equal(
        features(space, genomes), features(space, space.canonical(genomes))
    )


def test_a_network_counted_by_hand(space, genome):
    """12 channels; 16 in the first group, 32 in the third, whose map the second halved as well."""
    net = alone(space, genome)
    ops = net.ops(net.smallest)
    basic = 9 * 12 * 16 + 9 * 16 * 16 + 4 * 16, 2 * 9 * 16 * 16 + 4 * 16
    first = 2 * (basic[0] + basic[1]) + 12 * 16 + 2 * 16
    bottleneck = 16 * 8 + 9 * 8 * 8 + 8 * 32 + 4 * 8 + 2 * 32
    third = bottleneck + 16 * 32 + 2 * 32
    assert sum(op.params for op in ops) == 49 * 3 * 12 + 24 + first + third + 330
    assert {op.height for op in ops if op.path.startswith("group3/")} == {16, 8}
    assert [op.kind for op in ops].count("avgpool2") == 1
    assert sum(op.path.endswith("shortcut") for op in ops) == 2


def test_networks_of_the_published_space_are_built(space):
    """Without tables of all of them; deeper and wider than a supernet could be."""
    for genome in np.asarray(space.sample(jax.random.key(2), 3)):
        net = alone(space, genome)
        assert net.size() == 1 and net.ops(net.smallest)[-1].kind == "linear"
    most = ResnetLikeGroup((15,), (200,), (4,), (2,))
    assert width(64, most.widenings * 5) == 2048


def test_wider_groups_are_later_choices():
    space = resnet_like()
    values = space.decode(space.largest) | {f"convblock{group}": 1 for group in (1, 2, 3)}
    widest = space.encode(values)
    narrow = space.encode(values | {"widening2": 125})
    macs, fewer = (int(space.costs(one).macs) for one in (widest, narrow))
    assert 50e6 < macs < 51e6 and fewer < macs
    random = np.asarray(space.costs(space.sample(jax.random.key(0), 2000)).macs)
    assert 0.3e6 < random.min() < 0.4e6 and random.max() <= macs


def test_a_group_without_blocks_changes_nothing_but_the_map():
    """And its other genes do not matter; counted in tables as operator by operator."""
    first = ResnetLikeGroup((1,), (125, 200), (1,))
    second = ResnetLikeGroup((0, 1), (125, 200), (1, 2), (1, 2), 2)
    space = resnet_like_space("zero", ResnetLike(12, (8,), (3,), (first, second, second), 3, 4))
    genomes = np.asarray(space.sample(jax.random.key(0), 40))
    counted = [sum(op.params for op in space.ops(genome)) for genome in genomes]
    assert space.costs(genomes).params.tolist() == counted
    none = space.values(genomes)[:, 2:5] == 0
    names = [gene.name for gene in space.genes]
    alive = np.asarray(space.alive(genomes))
    for group in (2, 3):
        for kind in ("widening", "B"):
            assert (alive[:, names.index(f"{kind}{group}")] != none[:, group - 1]).all()
    absent = space.ops(space.encode(space.decode(space.largest) | {"R2": 0, "R3": 0}))
    assert [op.height for op in absent if op.kind == "avgpool2"] == [6, 3]


NET = ResnetLike(12, (8,), (1,), (ResnetLikeGroup((1, 2), (125, 200), (1, 2)),), 3, 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"repeats": (2, 1)}, "a group's repeats must be different numbers from 0 on"),
        ({"widenings": (50,)}, "a group's widenings must be different numbers from 100 on"),
        ({"branches": (0, 1)}, "a group's branches must be different numbers from 1 on"),
        ({"blocks": (1, 3)}, r"a group's blocks must be among \(1, 2\), got \(1, 3\)"),
        ({"stride": 3}, "a group's stride must be 1 or 2"),
    ],
)
def test_what_is_no_group_is_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        replace(NET.stages[0], **wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"numbers": (1, 2)}, "as many groups as the largest of numbers must be described, 2"),
        ({"first_widths": (4,)}, "first_widths must be at least 8"),
        ({"pixels": 0}, "pixels must be at least 1, got 0"),
        (
            {"stages": (ResnetLikeGroup((0, 1), (125,), (1,)),)},
            "the first group must have at least one block",
        ),
    ],
)
def test_what_is_no_structure_is_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        replace(NET, **wrong)


def test_a_file_holds_all_of_it():
    saved = NET.settings()
    assert saved["stages"]["group1"]["repeats"] == (1, 2)
    assert NET.completed(saved) == NET.settings() | {"stages": [saved["stages"]["group1"]]}
