"""Plain residual networks: published ones exactly, and what files of old say of them."""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.spaces.published import residual, resnet
from jaxnas.spaces.residual import residual_space
from jaxnas.spaces.residual_structure import Residual, ResidualStage


def published(widths, depths, block, groups=1, expands=(1,)) -> Residual:
    """A network of the papers at 224 pixels, as a space of one."""
    stages = tuple(
        ResidualStage((width,), (depth,), (3,), expands, 1 if i == 0 else 2, block, groups)
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True))
    )
    return Residual((224,), (64,), 2, stages, (), 3, 1000, first_kernel=7, first_pool=True)


WIDE = (256, 512, 1024, 2048)
NETWORKS = {  # multiply-adds of convolutions and the classifier, parameters
    "resnet34": (published((64, 128, 256, 512), (3, 4, 6, 3), "basic"), 3663761408, 21797672),
    "resnet50": (published(WIDE, (3, 4, 6, 3), "bottleneck"), 4089184256, 25557032),
    "resnext50_32x4d": (
        published(WIDE, (3, 4, 6, 3), "bottleneck", 32, (2,)),
        4230479872,
        25028904,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_cost_what_is_published(name):
    """As torchvision's models count; of a population to a float32's precision."""
    net, macs, params = NETWORKS[name]
    space = residual_space(name, net)
    ops = space.ops(space.largest)
    assert sum(op.macs for op in ops) == macs
    assert sum(op.params for op in ops) == params
    costs = space.costs(jnp.asarray(space.largest)[None])
    np.testing.assert_allclose(costs.macs, macs, rtol=1e-7)
    assert int(costs.params[0]) == params


def test_resnet_holds_both_published_depths():
    space = resnet()
    assert space.resolutions == (128, 160, 192, 224)
    assert [gene.choices for gene in space.genes if gene.kind == "depth"] == [
        (1, 2, 3),
        (2, 3, 4),
        (3, 4, 6),
        (2, 3),
    ]


def test_a_structure_of_old_is_read():
    """`residual` was a MobileNet: its runs and weights still open."""
    stage = {"squeeze_excite": False, "activation": "relu", "kernels": [3]}
    stages = [
        {"widths": [24, 32], "depths": [1, 2, 3], "expands": [1], "stride": 2, "operator": "conv"},
        *(
            {"widths": list(widths), "depths": [1, 2, 3], "expands": [1, 2, 3], "stride": 2}
            | {"operator": "fused_mbconv"}
            for widths in ((40, 48, 64), (64, 80, 96))
        ),
    ]
    old = {
        "resolutions": [32],
        "first_widths": [16, 24, 32],
        "first_stride": 1,
        "stages": [stage | row for row in stages],
        "last_widths": [128, 192, 256],
        "channels": 3,
        "classes": 10,
        "activation": "relu",
        "shortcut": "always",
        "per_block": False,
        "kernel_transform": False,
        "head": "v2",
    }
    structure = residual(32, 3, 10).structure
    assert structure is not None
    today = json.loads(json.dumps(structure.completed(structure.settings())))
    assert json.loads(json.dumps(structure.completed(old))) == today
    wider = old | {"first_widths": [16, 24, 40]}
    assert json.loads(json.dumps(structure.completed(wider))) != today


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": "mbconv"}, "block must be one of single, basic, bottleneck, fused"),
        ({"block": "basic", "groups": 1}, r"a stage of basic blocks has expands \(1,\)"),
        ({"block": "fused", "groups": 2}, "only bottleneck blocks have groups, got 2"),
        ({"groups": 3}, r"groups must divide the widths inside its blocks, \[8, 16, 16, 32\], got"),
    ],
)
def test_what_is_no_stage_is_refused(change, message):
    stage = ResidualStage((32, 64), (1, 2), (3,), (1, 2), 1, "bottleneck", 2)
    with pytest.raises(UserError, match=message):
        replace(stage, **change)
