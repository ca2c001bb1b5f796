"""Meta-kernels: a mixture of sizes is one convolution, and sizes share their centre."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.networks.operators import OPERATORS
from jaxnas.spaces.meta_kernel import KERNELS, MetaKernels, meta_kernel_space
from jaxnas.supernets.elastic import Sizes
from jaxnas.supernets.interpreter import largest

CONV = OPERATORS["conv"]
NET = MetaKernels(16, (8, 8), (1,), KERNELS, 3, 4)


@pytest.fixture(scope="module")
def block():
    """The depthwise convolution of a block, by the choices of its gene, with random weights."""
    op = meta_kernel_space("one", NET).tabled[1][1]
    assert op.kind == "conv" and op.kernel.tolist() == [*KERNELS]
    arrays = CONV.fresh(jax.random.key(0), largest(op))
    draw = np.random.default_rng(0)
    return op, {name: jnp.asarray(draw.normal(size=x.shape), x.dtype) for name, x in arrays.items()}


def alone(op, arrays, size):
    """The convolution of one size, as a network on its own has it."""
    own = replace(largest(op), kernel=size, own=())
    return own, CONV.share(arrays, own)


def test_a_mixture_is_the_sum_of_the_separate_convolutions(block):
    op, arrays = block
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 16, 16, 8)), jnp.float32)
    weights = np.random.default_rng(2).dirichlet(np.ones(len(KERNELS)))
    mixed = CONV.elastic(largest(op), arrays, Sizes(op, [jnp.asarray(weights, jnp.float32)]))
    separate = [CONV.compute(*alone(op, arrays, size), x) for size in KERNELS]
    expected = sum(w * np.asarray(y, np.float64) for w, y in zip(weights, separate, strict=True))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(CONV.compute(*mixed, x), expected, atol=1e-5 * scale)
    apart = [np.abs(y - separate[-1]).max() / scale for y in separate[:-1]]
    assert min(apart) > 0.1  # else any mixture would pass


def test_a_smaller_kernel_is_the_centre_of_the_larger_and_its_own(block):
    op, arrays = block
    kernels = {size: alone(op, arrays, size)[1]["kernel"] for size in KERNELS}
    np.testing.assert_array_equal(kernels[11], arrays["kernel"])
    for size, larger in pairwise(KERNELS):
        centre = kernels[larger][1:-1, 1:-1]
        np.testing.assert_array_equal(kernels[size], centre + arrays[f"kernel{size}"])


def test_sizes_exchange_what_they_learn_at_the_centre(block):
    """The gradient of size 5 reaches the centres of all larger ones, and nothing else of them."""
    op, arrays = block
    gradient = jax.grad(lambda arrays: jnp.sum(alone(op, arrays, 5)[1]["kernel"]))(arrays)
    for name, size in (("kernel", 11), ("kernel9", 9), ("kernel7", 7), ("kernel5", 5)):
        edge = (size - 5) // 2
        inside = np.pad(np.ones((5, 5)), edge)
        np.testing.assert_array_equal(gradient[name][..., 0, 0], inside)
    assert not gradient["kernel3"].any()


def test_fresh_sizes_begin_as_the_centre(block):
    fresh = CONV.fresh(jax.random.key(0), largest(block[0]))
    for size in KERNELS[:-1]:
        edge = (11 - size) // 2
        centre = fresh["kernel"][edge : 11 - edge, edge : 11 - edge]
        np.testing.assert_array_equal(alone(block[0], fresh, size)[1]["kernel"], centre)


def flops(function, *arguments):
    """Of the gradient."""
    analysis = jax.jit(jax.grad(function, argnums=(0, 1))).lower(*arguments).cost_analysis()
    assert analysis is not None
    return analysis["flops"]


def test_a_mixture_costs_little_more_than_the_largest(block):
    """Its gradients in weights, probabilities and images; experiments/meta_kernels.py times it."""
    op, arrays = block
    x = jnp.zeros((4, 16, 16, 8))
    own, plain = alone(op, arrays, 11)
    only = flops(lambda arrays, x: CONV.compute(own, arrays, x).sum(), plain, x)

    def mixture(both, x):
        arrays, weights = both
        return CONV.compute(*CONV.elastic(largest(op), arrays, Sizes(op, [weights])), x).sum()

    mixed = flops(mixture, (arrays, jnp.full(len(KERNELS), 0.2)), x)
    assert only < mixed < 1.1 * only


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kernels": (3, 4)}, "kernels must be odd"),
        ({"kernels": ()}, "kernels must be different numbers"),
        ({"widths": (8,)}, "a width of the stem and one of each block"),
        ({"strides": (3,)}, "a block's stride must be 1 or 2"),
    ],
)
def test_structures_that_are_none(wrong, said):
    with pytest.raises(UserError, match=said):
        replace(NET, **wrong)
