"""Fire modules: SqueezeNet 1.1 exactly, its choices, and what is no stage."""

from dataclasses import replace

import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.fire_structure import Fire, FireStage
from jaxnas.spaces.squeezenet import fire_cifar, squeezenet

MODULES = ((16, 64), (32, 128), (48, 192), (64, 256))  # squeeze and expands of two modules each


def squeezenet_1_1(space):
    network = {"resolution": 224, "first_conv_width": 64}
    for i, (squeeze, expand) in enumerate(MODULES, 1):
        values = {"squeeze": squeeze, "expand1x1": expand, "expand3x3": expand, "depth": 2}
        network |= {f"stage{i}_{kind}": value for kind, value in values.items()}
        network[f"stage{i}_shortcut"] = 0
    return space.encode(network)


def test_squeezenet_1_1_is_a_genome():
    """Its parameters exactly, its 0.35 G multiply-adds within 1 %, and the maps of its layers."""
    space = squeezenet()
    genome = squeezenet_1_1(space)
    ops = space.ops(genome)
    assert sum(op.params for op in ops) == 1_235_496
    assert sum(op.macs for op in ops) == pytest.approx(0.35e9, rel=0.01)
    assert int(space.costs(genome).params) == 1_235_496
    assert [op.height for op in ops if op.kind == "maxpool"] == [55, 27, 13]
    assert [op.c_out for op in ops if op.kind == "concat"] == [
        128,
        128,
        256,
        256,
        384,
        384,
        512,
        512,
    ]
    assert [op.kind for op in ops[-3:]] == ["conv", "pool", "flatten"]
    assert not any(op.norm for op in ops) and ops[0].height == 111


def test_shortcuts_stand_around_all_modules_but_the_first():
    space = fire_cifar(32, 3, 10)
    with_shortcuts = space.ops(space.largest)
    added = [op for op in with_shortcuts if op.kind == "add"]
    assert len(added) == 1 + 1 + 2
    without = {f"stage{i}_shortcut": 0 for i in (1, 2, 3)}
    plain = space.encode(space.decode(space.largest) | without)
    assert len(space.ops(plain)) == len(with_shortcuts) - len(added)
    alone = space.encode(space.decode(space.smallest) | {"stage1_shortcut": 1})
    assert space.canonical(alone).tolist() == space.smallest.tolist()  # of one module: nothing


def test_images_of_a_few_pixels_are_refused():
    with pytest.raises(UserError, match=r"maxpool reads 1 x 1 x \d+, too few pixels"):
        fire_cifar(2, 1, 10)


STAGE = FireStage((8, 16), (16,), (16, 32), (1, 2), shortcuts=(0, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"squeezes": (12,)}, "a stage's squeezes must be multiples of 8"),
        ({"expands_3x3": ()}, "a stage's expands_3x3 must be different numbers"),
        (
            {"shortcuts": (1, 0)},
            r"shortcuts must be \(0,\), without, \(1,\), with, or \(0, 1\), got",
        ),
    ],
)
def test_what_is_no_stage_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replace(STAGE, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first_padding": "ceil"}, "first_padding must be one of same, valid, got 'ceil'"),
        ({"head": "v3"}, "head must be one of linear, conv, got 'v3'"),
        ({"stages": ()}, "at least one stage"),
    ],
)
def test_what_is_no_structure_is_refused(change, message):
    net = Fire((16,), (8,), 1, (STAGE,), 3, 10)
    with pytest.raises(UserError, match=message):
        replace(net, **change)
