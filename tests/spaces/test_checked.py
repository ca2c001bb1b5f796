"""A mistake in a family's parts is one line that names the part, before anything is computed."""

from dataclasses import replace

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Space

GENES = (Gene("width", (8, 16), "width"), Gene("there", (0, 1), "operation"))


def stem(width):
    ops = PartBuilder(5, 3)
    ops.conv("stem", width)
    return ops.done()


def space(change, inputs=(), genes=(0, 1), name="mistaken", **rest):
    """The stem and a part of its width, which `change` writes."""

    def mistaken(width, *there):
        ops = PartBuilder(5, width)
        change(ops, width, *there)
        return ops.done()

    parts = (Part("stem", (0,), stem), Part(name, genes, mistaken, inputs))
    return Space("own", GENES, parts, **rest)


def even_kernel(ops, width, there):
    ops.conv("mistaken/even", width, kernel=2)


def wrong_channels(ops, width, there):
    ops.ops.append(Op("conv", "mistaken/narrow", (0,), 5, 5, width // 2, width))


def wrong_input(ops, width, there):
    ops.ops[0] = Op("input", "", (), 5, 5, 24, 24)
    ops.conv("mistaken/conv", width)


def two_widths(ops, width, there):
    ops.conv("mistaken/wide", 2 * width)
    ops.append("add", inputs=(1, 0))


def two_sizes(ops, width, there):
    ops.conv("mistaken/small", width, stride=2)
    ops.pick((0, 1), there)


def not_there(ops, width, there):
    ops.conv("mistaken/conv", width, repeat=there)


def unread(ops, width, there):
    ops.conv("mistaken/conv", width)
    ops.pick((0, 1), there)


def linear_of_a_map(ops, width, there):
    ops.append("linear", 4, "mistaken/linear")


def unknown_kind(ops, width, there):
    ops.append("deconv", width)


def too_few_pixels(ops, width, there):
    ops.append("maxpool", kernel=7, padding="valid")


def add_of_three(ops, width, there):
    ops.append("add", inputs=(0, 0, 0))


def even_pool(ops, width, there):
    ops.append("avgpool", kernel=2, stride=2)


def pool_with_gaps(ops, width, there):
    ops.append("maxpool", kernel=1, stride=3, padding="ceil")


def no_channel(ops, width, there):
    ops.conv("mistaken/conv", width - width)


def wrong_side(ops, width, there):
    ops.append("maxpool", kernel=3, stride=2, padding="ceil")
    ops.ops[-1] = replace(ops.ops[-1], height=3)


def ceil_convolution(ops, width, there):
    ops.conv("mistaken/conv", width, kernel=3, padding="ceil")


def asked_of_arrays(ops, width, there):
    if there:
        ops.conv("mistaken/conv", width)


def more_of_some(ops, width, there):
    if isinstance(there, int) and there:
        ops.conv("mistaken/conv", width)


def no_path(ops, width, there):
    ops.conv("", width)


def one_path_twice(ops, width, there):
    ops.conv("mistaken/conv", width)
    ops.conv("mistaken/conv", width)


def elastic_map(ops, width, there):
    ops.ops[0] = Op("input", "", (), 5 + there, 5, width, width)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (even_kernel, "odd kernel, got 2"),
        (wrong_channels, "reads 8 channels, but says c_in 4"),
        (wrong_input, "stem is 5 x 5 x 8, but its input says 5 x 5 x 24"),
        (two_widths, r"needs one width, got \[16, 8\]"),
        (two_sizes, "one size, got 5 x 5 x 8, 3 x 3 x 8"),
        (not_there, "conv mistaken/conv has repeat 0 in networks that read it"),
        (unread, "nothing reads conv mistaken/conv in some networks"),
        (linear_of_a_map, "reads one pixel, got 5 x 5 x 8"),
        (add_of_three, "add takes two results, got 3"),
        (even_pool, "avgpool must have an odd kernel, got 2"),
        (pool_with_gaps, "must have a stride of its kernel, 1, at most, got 3"),
        (no_channel, "conv mistaken/conv must have a channel at least, got c_out 0"),
        (too_few_pixels, "maxpool reads 5 x 5 x 8, too few pixels"),
        (wrong_side, "maxpool makes 2 x 2, says 3 x 2"),
        (ceil_convolution, 'must have "same" or "valid" padding, got "ceil"'),
        (unknown_kind, "unknown kind of operator 'deconv'; known: conv"),
        (asked_of_arrays, "must take arrays of values as it takes ints"),
        (no_path, "conv needs a path"),
        (one_path_twice, "conv mistaken/conv has the path of an operator of part mistaken"),
        (elastic_map, "its maps changes with gene there, which is not static"),
        (more_of_some, "as many and of the same kinds"),
    ],
)
def test_an_operator_that_does_not_fit_is_refused(change, message):
    with pytest.raises(UserError, match=f"^part mistaken.*{message}"):
        space(change)


def fits(ops, width, *there):
    ops.conv("mistaken/conv", width)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inputs": ("steam",)}, "reads 'steam', which is no part before it; those are image, ste"),
        ({"inputs": ("mistaken",)}, "reads 'mistaken', which is no part before it"),
        ({"inputs": ("stem", "image")}, "must begin with an input for each of stem, image"),
        ({"genes": (0, 7)}, r"different positions below 2, got \(0, 7\)"),
        ({"genes": (0, 0)}, r"different positions below 2, got \(0, 0\)"),
        ({"name": "stem"}, "another part has this name"),
    ],
)
def test_what_a_part_names_must_be_there(given, message):
    right = space(fits)
    assert right.ops(right.smallest)[-1].path == "mistaken/conv"
    with pytest.raises(UserError, match=message):
        space(fits, **given)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([Gene("width", (1,))], "two genes are named width"),
        ([Gene("odd", (1,), needs=("depth", (1,)))], r"gene odd needs depth to be one of \(1,\)"),
        ([Gene("odd", (1,), needs=("width", (9,)))], r"gene odd needs width to be one of \(9,\)"),
        ([Gene("a", (5,), static=True), Gene("b", (1,), static=True)], "one gene alone may be st"),
        ([Gene("pixels", (4, 6), static=True)], "reads images of 5 pixels, got the resolution 4"),
    ],
)
def test_genes_that_do_not_fit_are_refused(more, message):
    with pytest.raises(UserError, match=message):
        Space("own", (GENES[0], *more), (Part("stem", (0,), stem),))


@pytest.mark.parametrize("choices", [(), (1, 1)])
def test_choices_are_some_and_different(choices):
    with pytest.raises(UserError, match="gene width must have one choice or more, all different"):
        Gene("width", choices)


def test_labels_are_one_for_each_choice():
    with pytest.raises(UserError, match="gene edge must have a label for each of its 2 choices"):
        Gene("edge", (0, 1), "operation", labels=("skip",))


def test_needs_that_the_parts_do_not_heed_are_refused():
    genes = (Gene("there", (0, 1)), Gene("width", (8, 16), needs=("there", (0,))))
    with pytest.raises(UserError, match=r"do not matter by their needs change a network.*width"):
        Space("own", genes, (Part("stem", (1,), stem),))


def test_a_space_may_say_that_what_is_unread_counts():
    """Its costs are those of all networks alike, and the plain network is without it."""
    counting = space(unread, counts_unread=True)
    without, having = np.array([0, 0]), np.array([0, 1])
    assert int(counting.costs(without).macs) == int(counting.costs(having).macs)
    assert [op.path for op in counting.ops(without)] == ["stem"]
    assert [op.path for op in counting.ops(having)] == ["stem", "mistaken/conv"]
