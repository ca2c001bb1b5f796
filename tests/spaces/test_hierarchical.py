"""The factorised hierarchy: MnasNet-A1 exactly, and which genes matter to which operator."""

from dataclasses import replace

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.genomes import described
from jaxnas.spaces.hierarchical import hierarchical_space
from jaxnas.spaces.hierarchical_structure import OPERATORS, Hierarchical, HierarchicalStage
from jaxnas.spaces.mnasnet import mnasnet, mnasnet_cifar

A1 = (  # operator, kernel, squeeze, expand, depth, width
    ("separable", 3, 0, 3, 1, 16),
    ("mbconv", 3, 0, 6, 2, 24),
    ("mbconv", 5, 25, 3, 3, 40),
    ("mbconv", 3, 0, 6, 4, 80),
    ("mbconv", 3, 25, 6, 2, 112),
    ("mbconv", 5, 25, 6, 3, 160),
    ("mbconv", 3, 0, 6, 1, 320),
)


def test_mnasnet_a1_is_a_genome():
    """Its 3.9 M parameters as a public implementation has them, its 312 M multiply-adds in 1 %."""
    space = mnasnet()
    network = {"resolution": 224, "first_conv_width": 32, "last_conv_width": 1280}
    for i, (operator, *values) in enumerate(A1, 1):
        kinds = ("operator", "kernel", "squeeze", "expand", "depth", "width", "shortcut")
        chosen = (OPERATORS.index(operator), *values, 1)
        network |= {f"stage{i}_{kind}": x for kind, x in zip(kinds, chosen, strict=True)}
    genome = space.encode(network)
    ops = space.ops(genome)
    assert sum(op.params for op in ops) == int(space.costs(genome).params) == 3_887_038
    assert sum(op.macs for op in ops) == pytest.approx(312e6, rel=0.01)
    assert described(space, genome)["stage3_operator"] == "mbconv"
    assert described(space, genome)["stage3_kernel"] == 5


@pytest.fixture(scope="module")
def one_stage():
    stage = HierarchicalStage((16,), (2,), (3, 5), (2,), (0, 25))
    return hierarchical_space("one", Hierarchical((8,), (16,), 1, (stage,), (16,), 3, 4))


def layer(space, operator, squeeze=25, shortcut=1, kernel=5):
    """The operators of a stage's second layer."""
    values = space.decode(space.largest) | {
        "stage1_operator": OPERATORS.index(operator),
        "stage1_squeeze": squeeze,
        "stage1_shortcut": shortcut,
        "stage1_kernel": kernel,
    }
    genome = space.encode(values)
    names = zip(space.ops(genome), space.owners(genome), strict=True)
    return [op for op, owner in names if owner == "stage1/layer1"]


@pytest.mark.parametrize(
    ("operator", "kernels", "groups"),
    [
        ("separable", [5, 1, 1, 1], [16, 1, 1, 1]),
        ("conv", [5], [1]),
        ("fused_mbconv", [5, 1, 1, 1], [1, 1, 1, 1]),
        ("mbconv", [1, 5, 1, 1, 1], [1, 32, 1, 1, 1]),
    ],
)
def test_an_operator_is_what_it_is_called(one_stage, operator, kernels, groups):
    """With squeeze-excite, two convolutions of which stand before the last; and the shortcut."""
    ops = layer(one_stage, operator)
    convolutions = [op for op in ops if op.kind == "conv"]
    assert [op.kernel for op in convolutions] == kernels
    assert [op.groups for op in convolutions] == groups
    assert all(op.path.startswith(f"stage1/layer1/{operator}/") for op in convolutions)
    assert ops[-1].kind == "add"
    assert layer(one_stage, operator, shortcut=0) == ops[:-1]
    assert layer(one_stage, operator, kernel=3) != ops
    if operator == "conv":
        assert layer(one_stage, operator, squeeze=0) == ops
    else:
        assert convolutions[-3].c_out == 16 // 4
        assert len(layer(one_stage, operator, squeeze=0)) == len(ops) - 4


def test_genes_matter_to_the_operators_that_have_them():
    space = mnasnet_cifar(32, 3, 10)
    needs = {gene.name: gene.needs for gene in space.genes}
    conv, mbconv, fused = (OPERATORS.index(name) for name in ("conv", "mbconv", "fused_mbconv"))
    values = needs["stage1_squeeze"]
    assert values is not None and values[0] == "stage1_operator" and conv not in values[1]
    assert needs["stage1_expand"] == ("stage1_operator", (fused, mbconv))
    assert needs["stage1_shortcut"] == ("stage1_depth", (2,))
    for name in OPERATORS:
        genome = space.encode(
            space.decode(space.largest) | {"stage1_operator": OPERATORS.index(name)}
        )
        alive = dict(zip(needs, np.asarray(space.alive(genome)).tolist(), strict=True))
        assert alive["stage1_squeeze"] == (name != "conv")
        assert alive["stage1_kernel"] and alive["stage1_width"]


def test_a_squeeze_has_a_channel_at_least():
    stage = HierarchicalStage((8,), (1,), (3,), (1,), (0, 5))
    space = hierarchical_space("few", Hierarchical((8,), (8,), 1, (stage,), (8,), 3, 4))
    widths = [op.c_out for op in space.ops(space.largest) if op.path.endswith("/squeeze")]
    assert widths == [1]


STAGE = HierarchicalStage((16, 24), (1, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"operators": ("mbconv", "mbconv")}, "operators must be different, got"),
        ({"operators": ("swin",)}, "operator must be one of separable, conv, fused_mbconv, mbconv"),
        ({"squeezes": (25, 0)}, "squeezes must be different percents, smallest first"),
        ({"squeezes": (0, 400)}, "squeezes must be different percents"),
        ({"kernels": (4,)}, "kernels must be odd"),
    ],
)
def test_what_is_no_stage_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(STAGE, **change)


def test_a_stage_of_convolutions_alone_has_neither_squeeze_nor_expand_to_choose():
    stage = replace(STAGE, operators=("conv",), depths=(1,))
    space = hierarchical_space("convs", Hierarchical((8,), (8,), 1, (stage,), (16,), 3, 4))
    free = [gene.name for gene in space.genes if len(gene.choices) > 1]
    assert free == ["stage1_width", "stage1_kernel"] and space.size() == 4
