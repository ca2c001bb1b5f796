"""A plain network without masks: a list of `Op`, its weights and its statistics; fine-tuned, exported and measured."""

from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnas.supernets import convolution
from jaxnas.workload import Op

EPSILON = 1e-5  # of every batch norm

ACTIVATIONS = {"": lambda x: x, "relu": jax.nn.relu, "swish": jax.nn.swish, "hard_sigmoid": jax.nn.hard_sigmoid}

Leaf = Array | np.ndarray  # NumPy where a subnet is cut out on the host
Arrays = dict[str, dict[str, Leaf]]  # {path: {name: array}}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Subnet:
    """`ops` in order of execution, and the arrays of those that have any, by path.

    Weights of a path: `kernel` (k, k, c_in // groups, c_out), for linear (c_in, c_out); `scale` and `shift` (c_out,) if
    it has a norm, then `stats` holds its `mean` and `var` (c_out,); `bias` (c_out,) if it has one.

    The operators are the pytree's structure and the arrays its leaves, so jit, grad, optax and orbax take a subnet as it
    is. (Not an nnx.Module: its mutable half buys nothing here and makes a training step's first call 3 times slower.)
    """

    ops: tuple[Op, ...] = field(metadata={"static": True})
    weights: Arrays
    stats: Arrays

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Logits, with the stored statistics."""
        return forward(self.ops, self.weights, images, self.stats)[0]


def forward(
    ops: tuple[Op, ...], weights: Arrays, images: Float[Array, "n h w c"], stats: Arrays | None = None
) -> tuple[Float[Array, "n classes"], Arrays]:
    """Logits and the statistics used: those given, or those of this batch where `stats` is None (training)."""
    values, used = [], {}
    for op in ops:
        inputs = [images if i == -1 else values[i] for i in op.inputs]
        x = _OPERATORS[op.kind](op, weights.get(op.path, {}), *inputs)
        if op.bias:
            x = x + weights[op.path]["bias"]
        if op.norm:
            used[op.path] = stats[op.path] if stats is not None else batch_statistics(x)
            x = batch_norm(x, weights[op.path]["scale"], weights[op.path]["shift"], used[op.path])
        values.append(ACTIVATIONS[op.act](x))
    return values[-1], used


def batch_statistics(x: Float[Array, "n h w c"]) -> dict[str, Leaf]:
    """Per-channel mean and (biased) variance of a batch."""
    mean = jnp.mean(x, (0, 1, 2))
    return {"mean": mean, "var": jnp.mean(jnp.square(x - mean), (0, 1, 2))}


def batch_norm(x: Float[Array, "n h w c"], scale: Leaf, shift: Leaf, stats: dict[str, Leaf]) -> Float[Array, "n h w c"]:
    """Batch norm as one multiply-add per element."""
    a = scale * jax.lax.rsqrt(stats["var"] + EPSILON)
    return x * a + (shift - stats["mean"] * a)


def fold(subnet: Subnet) -> Subnet:
    """The same function with every norm folded into its convolution's kernel and a bias, as deployed networks are."""
    weights = {path: dict(arrays) for path, arrays in subnet.weights.items()}
    for op in subnet.ops:
        if op.norm:
            arrays, stats = weights[op.path], subnet.stats[op.path]
            a = arrays.pop("scale") / (stats["var"] + EPSILON) ** 0.5
            arrays["kernel"] = arrays["kernel"] * a
            arrays["bias"] = arrays.pop("shift") + (arrays.get("bias", 0) - stats["mean"]) * a
    ops = tuple(replace(op, norm=False, bias=True) if op.norm else op for op in subnet.ops)
    return Subnet(ops, weights, {})


def _conv(op: Op, arrays, x):
    kernel = arrays["kernel"]
    if op.groups > 1:
        return convolution.depthwise(x, kernel[:, :, 0], op.stride)
    if op.kernel == 1 and op.stride == 1:
        return convolution.pointwise(x, kernel[0, 0])
    return convolution.dense(x, kernel, op.stride)


_OPERATORS = {
    "conv": _conv,
    "linear": lambda op, arrays, x: x.reshape(x.shape[0], -1) @ arrays["kernel"],
    "pool": lambda op, arrays, x: jnp.mean(x, (1, 2), keepdims=True),
    "avgpool2": lambda op, arrays, x: convolution.average_pool2(x),
    "mul": lambda op, arrays, x, y: x * y,
    "add": lambda op, arrays, x, y: x + y,
}
