"""The description of a network, and what it refuses."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.networks.sizes import make_divisible
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage

STAGE = Stage((16, 24), (1, 2), (3, 5), (2, 3), 2)
NET = MobileNet((32,), (8, 16), 2, (STAGE,), (60, 100), 3, 10)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"widths": (24, 16)},
            r"a stage's widths must be different numbers from 1 on, smallest first, got \(24, 16\)",
        ),
        ({"widths": (12, 16)}, r"a stage's widths must be multiples of 8, got \(12, 16\)"),
        (
            {"depths": ()},
            r"a stage's depths must be different numbers from 1 on, smallest first, got \(\)",
        ),
        ({"depths": (0, 1)}, "a stage's depths must be different numbers from 1 on"),
        ({"depths": (1, 100_000)}, r"a stage's depths must be at most 100, got 100000"),
        ({"expands": (2, 2)}, "a stage's expands must be different numbers from 1 on"),
        ({"kernels": (3, 4)}, r"a stage's kernels must be odd, got \(3, 4\)"),
        ({"stride": 3}, "a stage's stride must be 1 or 2, got 3"),
        ({"operator": "mlp"}, "operator must be one of mbconv, fused_mbconv, got 'mlp'"),
        (
            {"activation": "gelu"},
            "activation must be one of relu, relu6, swish, hard_swish, got 'gelu'",
        ),
        (
            {"expands": (1, 2)},
            r"expands of mbconv are \(1,\), no expansion layer, or all above 1, got \(1, 2\)",
        ),
    ],
)
def test_a_stage_refuses(change, message):
    with pytest.raises(UserError, match=message):
        replace(STAGE, **change)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"resolutions": (32, 24)},
            "resolutions must be different numbers from 1 on, smallest first",
        ),
        ({"first_widths": (10,)}, r"first_widths must be multiples of 8, got \(10,\)"),
        ({"last_widths": ()}, "last_widths must be different numbers"),
        ({"first_stride": 4}, "first_stride must be 1 or 2, got 4"),
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"stages": ()}, "a network needs at least one stage, got none"),
        ({"shortcut": "never"}, "shortcut must be one of always, identity, got 'never'"),
        ({"activation": "tanh"}, "activation must be one of"),
    ],
)
def test_a_network_refuses(change, message):
    with pytest.raises(UserError, match=message):
        replace(NET, **change)


@pytest.mark.parametrize(
    "change, kernels",
    [
        ({}, ((1,), (3, 5))),
        ({"expands": (1,)}, ((), (3, 5))),
        ({"operator": "fused_mbconv"}, ((3, 5), ())),
    ],
)
def test_kernels_of_the_convolutions_of_a_block(change, kernels):
    stage = replace(STAGE, **change)
    assert (stage.expand_kernels, stage.depthwise_kernels) == kernels


def test_make_divisible_follows_its_definition():
    values = range(1, 200)
    rounded = [make_divisible(value) for value in values]
    assert all(r % 8 == 0 and r >= 0.9 * v for r, v in zip(rounded, values, strict=True))
    assert all(
        abs(r - v) <= 4 or v < 8 or r - 8 < 0.9 * v for r, v in zip(rounded, values, strict=True)
    )
    assert jax.jit(make_divisible)(np.arange(1, 200, dtype=np.int32)).tolist() == rounded
