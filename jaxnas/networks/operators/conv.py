"""Convolutions: ordinary, depthwise, in groups, dilated; square kernels."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.networks import convolution
from jaxnas.networks.depthwise import depthwise
from jaxnas.networks.dilated import dilated
from jaxnas.networks.initializers import kaiming
from jaxnas.networks.norm import Leaf
from jaxnas.networks.op import Op
from jaxnas.networks.operators.operator import Elastic, Operator, Weights
from jaxnas.networks.sizes import strided, windowed
from jaxnas.types import PRNGKey, Size


def _params(op: Op) -> Size:
    return op.c_out * (op.c_in // op.groups) * op.kernel**2


def _macs(op: Op) -> Size:
    return op.height * op.width * _params(op)


def _compute(op: Op, arrays: Weights, x: Float[Array, "n h w c_in"]) -> Float[Array, "..."]:
    if op.padding == "valid":
        return _without_padding(op, arrays, x)
    kernel = arrays["kernel"]
    if op.dilation > 1:
        return dilated(partial(_convolved, op), x, kernel, op.stride, op.dilation)
    return _convolved(op, x, kernel, op.stride)


def _convolved(
    op: Op, x: Float[Array, "n h w c_in"], kernel: Array, stride: int
) -> Float[Array, "..."]:
    if op.groups == 1:
        return convolution.convolution(x, kernel, stride)
    if op.groups == op.c_in == op.c_out:
        return depthwise(x, kernel[:, :, 0], stride)
    return convolution.grouped(x, kernel, stride, op.groups)


def _without_padding(op: Op, arrays: Weights, x: Float[Array, "n h w c_in"]) -> Array:
    """The padded convolution of a shifted image, without the results that see padding."""
    border = op.reach // 2
    first = strided(border, op.stride)
    shift = first * op.stride - border
    height, width = (windowed(side, op.reach, op.stride, "valid") for side in x.shape[1:3])
    shifted = jnp.pad(x, ((0, 0), (shift, 0), (shift, 0), (0, 0)))
    y = _compute(replace(op, padding="same"), arrays, shifted)
    return y[:, first : first + height, first : first + width]


def _fresh(key: PRNGKey, op: Op) -> Weights:
    shape = (op.kernel, op.kernel, op.c_in // op.groups, op.c_out)
    transforms = {
        f"transform{size}": jnp.eye(size * size, dtype=jnp.float32) for size in op.transforms
    }
    own = {f"kernel{size}": jnp.zeros((size, size, *shape[2:]), jnp.float32) for size in op.own}
    return {"kernel": kaiming(key, shape, op.groups), **transforms, **own}


def _share(arrays: Weights, op: Op) -> Weights:
    kernel = smaller_kernel(arrays, op.kernel)
    return {"kernel": kernel[:, :, : op.c_in // op.groups, : op.c_out]}


def smaller_kernel(arrays: Weights, size: int) -> Float[Leaf, "k k c_in c_out"]:
    """A filter's centre of `size` taps a side.

    With transforms, each next smaller centre is multiplied by its matrix (Cai et al., "Once for
    All", ICLR 2020, section 3.3). Weights of a size's own are added to the centre of the next
    larger one: what that learns there, all smaller ones have too, and their gradients reach it.
    """
    kernel = arrays["kernel"]
    transforms = _by_size(arrays, "transform")
    own = _by_size(arrays, "kernel")
    steps = (s for s in {*transforms, *own, size} if size <= s < kernel.shape[0])
    for step in sorted(steps, reverse=True):
        edge = (kernel.shape[0] - step) // 2
        kernel = kernel[edge : edge + step, edge : edge + step]
        if step in transforms:
            kernel = (transforms[step] @ kernel.reshape(step * step, -1)).reshape(kernel.shape)
        if step in own:
            kernel = kernel + own[step]
    return kernel


def _by_size(arrays: Weights, prefix: str) -> dict[int, Leaf]:
    """The arrays whose names are the prefix and a size."""
    names = (name for name in arrays if name.startswith(prefix) and name != prefix)
    return {int(name.removeprefix(prefix)): arrays[name] for name in names}


def _elastic(op: Op, arrays: Weights, sizes: Elastic) -> tuple[Op, Weights]:
    kernel = _elastic_taps(op, arrays, sizes)
    op, kernel = _elastic_groups(op, kernel, sizes)
    live = None if op.norm else sizes.live("c_out", op.c_out)
    return op, {"kernel": kernel if live is None else kernel * live}


def _elastic_taps(op: Op, arrays: Weights, sizes: Elastic) -> Float[Array, "k k c_in c_out"]:
    """The filter of the active size, within the taps of the largest: 0 around it."""
    kernel = jnp.asarray(arrays["kernel"])
    if not op.transforms and not op.own:
        taps = sizes.taps(op.kernel)
        return kernel if taps is None else kernel * taps[:, :, None, None]
    found, weights = sizes.weights("kernel")
    edges = [(op.kernel - size) // 2 for (size,) in found]
    forms = [
        jnp.pad(smaller_kernel(arrays, size), ((edge, edge), (edge, edge), (0, 0), (0, 0)))
        for (size,), edge in zip(found, edges, strict=True)
    ]
    return _mixed(forms, weights)


def _elastic_groups(op: Op, kernel: Array, sizes: Elastic) -> tuple[Op, Array]:
    """Groups as they are where each has the same channels at every width; else zeros between them.

    A group's place among the channels then depends on the widths, so that an ordinary convolution
    computes all of them: its kernel is 0 where the two channels lie in different groups.
    """
    found, weights = sizes.weights("c_in", "c_out", "groups")
    within = {(c_in // groups, c_out // groups) for c_in, c_out, groups in found}
    if op.groups == 1 and all(groups == 1 for *_, groups in found):
        return op, kernel
    if len(within) == 1:
        return op, kernel
    forms = [_between_groups(op, kernel, *variant) for variant in found]
    return replace(op, groups=1), _mixed(forms, weights)


def _mixed(forms: list[Array], weights: Float[Array, "forms"]) -> Array:
    """The sum of the forms, weighted."""
    return jnp.tensordot(weights, jnp.stack(forms), 1)


def _between_groups(op: Op, kernel: Array, c_in: int, c_out: int, groups: int) -> Array:
    """The kernel of an ordinary convolution that computes `groups` groups of the first channels."""
    rows, columns = np.indices((op.c_in, op.c_out))
    row = rows - columns // (c_out // groups) * (c_in // groups)
    inside = (row >= 0) & (row < c_in // groups) & (columns < c_out)
    taken = jnp.take_along_axis(kernel, jnp.asarray(np.where(inside, row, 0))[None, None], axis=2)
    return taken * jnp.asarray(inside, jnp.float32)


CONV = Operator(_compute, macs=_macs, params=_params, fresh=_fresh, share=_share, elastic=_elastic)
