"""MobileNetV2 by rows, against published counts.

And the space on the backbone that progressive scaling found.
"""

import pytest

from jaxnas.config import make_space
from jaxnas.errors import UserError
from jaxnas.spaces.mobilenet_v2 import (
    GRID,
    RAPTOR_WIDTHS,
    mobilenet_v2,
    mobilenet_v2_cifar,
    scaled_widths,
    uniform,
)
from jaxnas.spaces.raptor import raptor, raptor_cifar


def test_the_published_network():
    """Multiply-adds and parameters of MobileNetV2 as PyTorch's own model zoo has it."""
    space = mobilenet_v2(multipliers=uniform(1.0))
    assert space.costs(space.largest).macs == 300_774_272
    assert space.costs(space.largest).params == 3_504_872
    assert space.size() == len(space.resolutions) == 5


def test_widths_are_rounded_as_published():
    """0.35 and 1.4 in the authors' code: 16 and 48 channels of the stem.

    The last convolution is never narrower than 1,280.
    """
    first, *_, row, last = (some[0] for some in scaled_widths(uniform(0.35)))
    assert (first, row, last) == (16, 112, 1280)
    first, *_, row, last = (some[0] for some in scaled_widths(uniform(1.4)))
    assert (first, row, last) == (48, 448, 1792)


def test_the_grid_has_every_width_once():
    space = mobilenet_v2()
    choices = [gene.choices for gene in space.genes if gene.name.endswith("width")]
    published = (32, 16, 24, 32, 64, 96, 160, 320, 1280)
    for some, width in zip(choices, published, strict=True):
        assert {scaled_widths([(m,)] * 9)[published.index(width)][0] for m in GRID} == set(some)
    assert space.size() == 5 * 2_916_000


def test_the_backbone_is_the_published_table():
    """Table 2: 0.3, 0.3, 0.3, 0.3, 1.5, 1.0, 0.9, 0.6, 0.6."""
    widths = [some[0] for some in scaled_widths([(m,) for m in RAPTOR_WIDTHS])]
    assert widths == [16, 8, 8, 16, 96, 96, 144, 192, 768]
    for space in (raptor(), raptor_cifar()):
        decoded = space.decode(space.smallest)
        assert [decoded[gene.name] for gene in space.genes if gene.name.endswith("width")] == widths
        row = 6**2 + 6**3 + 6**4  # two, three or four blocks of a kernel and an expand ratio each
        assert space.size() == len(space.resolutions) * 2 * row**5 * 6


def test_larger_images_begin_with_half_as_many_pixels():
    spaces = {"large": [raptor_cifar(64), mobilenet_v2_cifar(64)], "small": [raptor_cifar(32)]}
    strides = {
        size: {space.settings["first_stride"] for space in some} for size, some in spaces.items()
    }
    assert strides == {"large": {2}, "small": {1}}
    assert raptor_cifar(64).resolutions == (48, 56, 64)


@pytest.mark.parametrize(
    "name, message",
    [
        ("mobilenet_v2:wide", "must be a number"),
        ("tiny:0.5", "unknown space"),
        ("mobilenet_v2:9", "between"),
    ],
)
def test_what_is_no_space(name, message):
    with pytest.raises(UserError, match=message):
        make_space(name)


def test_a_multiplier_follows_the_name():
    space = make_space("mobilenet_v2_cifar:0.5")(32, 3, 10)
    assert space.size() == 3 and space.decode(space.largest)["first_conv_width"] == 16
