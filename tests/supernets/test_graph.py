"""Families whose parts are no chain: what is read twice, handed on, chosen among and joined."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.networks import costs
from jaxnas.networks.costs import peak_of
from jaxnas.networks.subnet import forward
from jaxnas.numerics.float32 import Float32
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder
from jaxnas.spaces.parts import Part
from jaxnas.spaces.residual import residual_space
from jaxnas.spaces.residual_structure import Residual, ResidualStage
from jaxnas.spaces.space import Space
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import take

PIXELS = 5


def graph() -> Space:
    """`choice` hands on one of two results, `optional` reads the stem or not, `nothing` no more."""
    genes = (
        Gene("width", (8, 16), "width"),
        Gene("side", (0, 1), "operation"),
        Gene("chosen", (0, 1), "operation"),
        Gene("optional", (0, 1), "operation"),
    )
    parts = (
        Part("stem", (0,), _stem),
        Part("side", (0, 1), _side, ("stem",)),
        Part("gated", (0,), _gated, ("stem",)),
        Part("choice", (0, 2), partial(_pair, False), ("side", "gated")),
        Part("both", (0,), partial(_pair, True), ("side", "gated")),
        Part("nothing", (0,), lambda width: PartBuilder(PIXELS, width).done(), ("both",)),
        Part("joined", (0,), _joined, ("nothing",)),
        Part("optional", (0, 3), partial(_pair, None), ("joined", "stem")),
        Part("sum", (0,), partial(_pair, True), ("choice", "optional")),
        Part("classifier", (0,), _classifier, ("sum",)),
    )
    return Space("graph", genes, parts)


def _stem(width):
    ops = PartBuilder(PIXELS, 3)
    ops.conv("stem", width, kernel=3)
    return ops.done()


def _side(width, there):
    ops = PartBuilder(PIXELS, width)
    ops.conv("side/wide", 2 * width, act="relu", repeat=there)
    narrow = ops.conv("side/narrow", width, repeat=there)
    ops.pick((0, narrow), there)
    return ops.done()


def _gated(width):
    ops = PartBuilder(PIXELS, width)
    ops.append("conv", width, "gated/gate", bias=True, act="hard_sigmoid")
    ops.conv("gated/mix", width, kernel=3)
    return ops.done()


def _pair(added, width, choice=1):
    """The sum of two inputs, one of them, or where `added` is None the first or the sum."""
    ops = PartBuilder(PIXELS, width)
    other = ops.input(PIXELS, width)
    if added is None:
        other = ops.append("add", inputs=(0, other), repeat=choice)
    if added:
        ops.append("add", inputs=(0, other))
    else:
        ops.pick((0, other), choice)
    return ops.done()


def _joined(width):
    ops = PartBuilder(PIXELS, width)
    one = ops.conv("joined/one", 8)
    other = ops.conv("joined/other", 16, inputs=(0,))
    ops.append("concat", inputs=(one, other))
    ops.conv("joined/mix", width)
    return ops.done()


def _classifier(width):
    ops = PartBuilder(PIXELS, width)
    ops.append("pool")
    ops.append("linear", 4, "classifier", bias=True)
    return ops.done()


def joined_widths() -> Space:
    """Elastic widths side by side, first inside of a part, then of two parts that are read."""
    genes = (Gene("one", (8, 16), "width"), Gene("two", (8, 24), "width"))
    parts = (
        Part("first", (0,), partial(_one_conv, "first", 3), ("image",)),
        Part("second", (0, 1), _sided, ("first",)),
        Part("third", (0, 1), _both, ("second", "first")),
        Part("last", (0, 1), _last),
    )
    return Space("joined widths", genes, parts)


def _one_conv(name, channels, width):
    ops = PartBuilder(PIXELS, channels)
    ops.conv(f"{name}/conv", width, act="relu")
    return ops.done()


def _sided(one, two):
    ops = PartBuilder(PIXELS, one)
    left = ops.conv("second/left", two, act="relu")
    right = ops.conv("second/right", one, act="relu", inputs=(0,))
    ops.append("concat", inputs=(left, right))
    ops.conv("second/mixed", two)
    return ops.done()


def _both(one, two):
    ops = PartBuilder(PIXELS, two)
    ops.append("concat", inputs=(0, ops.input(PIXELS, one)))
    return ops.done()


def _last(one, two):
    ops = PartBuilder(PIXELS, one + two)
    ops.append("pool")
    ops.append("linear", 4, "last", bias=True)
    return ops.done()


def two_or_three() -> Space:
    """Of two later blocks alike, one is always there: they share their forms all the same."""
    stage = ResidualStage((8,), (2, 3), (3,), block="single")
    net = Residual((PIXELS,), (8,), 1, (stage,), (), 3, 4)
    return residual_space("two or three", net)


def every_genome(space: Space) -> np.ndarray:
    return np.indices(space.sizes.tolist()).reshape(len(space.genes), -1).T.astype(np.int32)


@pytest.mark.parametrize("make", [graph, two_or_three, joined_widths])
def test_masked_switched_simulated_and_sliced_are_equal(make, randomised):
    net = build(make())
    params = randomised(net)
    images = jax.random.normal(jax.random.key(0), (4, PIXELS, PIXELS, 3))
    numerics = net.simulated(Float32())

    @jax.jit
    def found(genome):
        logits = [
            form.logits(form.calibrate(params, genome, images), genome, images)
            for form in (net.switched, numerics)
        ]
        masked = net.apply(params, images, genome)[0]
        return masked, net.switched_training(params, genome, images), *logits

    for genome in every_genome(net.space)[:: max(net.space.size() // 4, 1)]:
        ops = net.ops(genome)
        sliced = jax.jit(forward, static_argnums=0)(ops, take(params, ops), images)[0]
        for logits in found(jnp.asarray(genome)):
            np.testing.assert_allclose(logits, sliced, atol=1e-4 * float(jnp.abs(sliced).max()))


def test_what_is_held_is_what_the_plain_network_holds():
    """A result is held until its last reader, by whichever name that knows it."""
    space = graph()
    genomes = every_genome(space)
    found = space.costs(genomes)
    for i, genome in enumerate(genomes):
        ops = space.ops(genome)
        expected = peak_of(ops, PIXELS, PIXELS)
        assert found.peak_activations[i] == expected
        assert costs.peak_activations(space.layers(genome)) == expected
        assert found.macs[i] == sum(op.macs for op in ops)
        assert found.params[i] == sum(op.params for op in ops)
