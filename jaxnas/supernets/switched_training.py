"""Training of subnets on a CPU.

`switched`'s branches with a gradient, so that no masked channel is computed.

The gradient of a switch over blocks is a switch over their gradients, each of which computes its
block once more: what a block would keep for its gradient differs from branch to branch, and XLA
would hold room for all of them.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, forward
from jaxnas.spaces.mobilenet import split_genes
from jaxnas.spaces.space import Space
from jaxnas.spaces.stage import MobileNet
from jaxnas.supernets.supernet import Params, take
from jaxnas.supernets.switched import Forms, branch_of, classify, grouped, padded, walk
from jaxnas.types import Genome


def build_switched_training(
    space: Space,
) -> Callable[[Params, Genome, Float[Array, "n h w c"]], Float[Array, "n classes"]]:
    """Logits of a traced genome of a `MobileNet` space, by batch statistics.

    Equal to the masked ones, but for rounding.
    """
    net: MobileNet = space.structure

    def logits(params, genome, images):
        weights = grouped(net, params)
        choice = split_genes(net, list(genome))
        features, _ = walk(net, weights, images, choice, _run, _rest)
        return classify(net, weights["head"], choice, features)

    return logits


def _run(forms: Forms, choices: tuple, arrays: Arrays, x) -> tuple[Array, Arrays]:
    return _switch(_branches(forms), branch_of(forms, choices), arrays, x), {}


def _rest(
    forms: Forms, depth, width, kernels, expands, weights: Arrays, x, run: Callable
) -> tuple[Array, Arrays]:
    """The blocks after a stage's first.

    The last branch is that of those beyond the genome's depth, which do nothing.
    """
    if not weights:
        return x, {}
    branches = (*_branches(forms), _skip)

    def block(x, row):
        b, arrays = row
        branch = jnp.where(
            b < depth, branch_of(forms, (width, kernels[b], expands[b])), len(branches) - 1
        )
        return _switch(branches, branch, arrays, x), None

    return jax.lax.scan(block, x, (jnp.arange(1, len(kernels)), weights))[0], {}


def _branches(forms: Forms) -> tuple[Callable, ...]:
    return tuple(partial(_block, ops, forms.width) for ops in forms.branches)


def _block(ops: tuple[Op, ...], width: int, arrays: Arrays, x):
    return padded(forward(ops, take(arrays, ops), x[..., : ops[0].c_in])[0], width)


def _skip(arrays: Arrays, x):
    return x


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _switch(branches: tuple[Callable, ...], branch, arrays: Arrays, x):
    return jax.lax.switch(branch, branches, arrays, x)


def _forward(branches, branch, arrays, x):
    return jax.lax.switch(branch, branches, arrays, x), (branch, arrays, x)


def _backward(branches, residuals, gradient):
    branch, arrays, x = residuals
    backward = [
        lambda arrays, x, gradient, one=one: jax.vjp(one, arrays, x)[1](gradient)
        for one in branches
    ]
    return None, *jax.lax.switch(branch, backward, arrays, x, gradient)


_switch.defvjp(_forward, _backward)
