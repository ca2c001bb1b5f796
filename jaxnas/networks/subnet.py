"""A plain network without masks: a list of `Op`, its weights and its statistics.

Fine-tuned, exported and measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnas.networks.activations import ACTIVATIONS
from jaxnas.networks.norm import EPSILON, Leaf, batch_norm, norm_act_of_batch
from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.types import PRNGKey

Arrays = dict[str, dict[str, Leaf]]  # {path: {name: array}}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Subnet:
    """`ops` in order of execution, and the arrays of those that have any, by path.

    Weights of a path: `kernel` (k, k, c_in // groups, c_out), for linear (c_in, c_out), for
    identity none; `scale` and `shift` (c_out,) if it has a norm, then `stats` holds its `mean` and
    `var` (c_out,); `bias` (c_out,) if it has one.

    The operators are the pytree's structure and the arrays its leaves, so jit, grad, optax and
    orbax take a subnet as it is. (Not an nnx.Module: its mutable half buys nothing here and makes a
    training step's first call 3 times slower.)
    """

    ops: tuple[Op, ...] = field(metadata={"static": True})
    weights: Arrays
    stats: Arrays

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Logits, with the stored statistics."""
        return forward(self.ops, self.weights, images, self.stats)[0]


def forward(
    ops: tuple[Op, ...],
    weights: Arrays,
    images: Float[Array, "n h w c"] | tuple[Array, ...],
    stats: Arrays | None = None,
    drop: Callable[[int, Array], Array] | None = None,
) -> tuple[Float[Array, "n ..."], Arrays]:
    """The last operator's result, of a whole network its logits, and the statistics used.

    Statistics are those given, else this batch's. `drop`, of drop-connect and dropout, is applied
    to the position and the first input of every `add` and `linear`. A part of a network may read
    several results: `images` is then a tuple of them, and an operator's input -1 - k is number k.
    """
    given = images if isinstance(images, tuple) else (images,)
    values = []
    used = {}
    for position, op in enumerate(ops):
        inputs = [given[-1 - i] if i < 0 else values[i] for i in op.inputs]
        if drop is not None and op.kind in ("add", "linear"):
            inputs[0] = drop(position, inputs[0])
        x = operate(op, weights, inputs)
        if op.norm and stats is None:
            arrays = weights[op.path]
            x, used[op.path] = norm_act_of_batch(
                x, arrays["scale"], arrays["shift"], ACTIVATIONS[op.act]
            )
        else:
            x = norm_act(op, weights, x, stats or {})
        values.append(x)
    return values[-1], used if stats is None else stats


def operate(op: Op, weights: Arrays, inputs: Sequence[Array]) -> Array:
    """An operator's result before its norm and activation."""
    x = OPERATORS[op.kind].compute(op, weights.get(op.path, {}), *inputs)
    return x + weights[op.path]["bias"].astype(x.dtype) if op.bias else x


def norm_act(op: Op, weights: Arrays, x: Array, stats: Arrays) -> Array:
    """An operator's norm, if it has one, and activation."""
    if op.norm:
        x = batch_norm(x, weights[op.path]["scale"], weights[op.path]["shift"], stats[op.path])
    return ACTIVATIONS[op.act](x)


def fold(subnet: Subnet) -> Subnet:
    """The same function with every norm folded into its convolution's kernel and a bias.

    As deployed networks are.
    """
    weights = {
        path: folded(arrays, subnet.stats[path]) if "scale" in arrays else arrays
        for path, arrays in subnet.weights.items()
    }
    return Subnet(without_norms(subnet.ops), weights, {})


def folded(arrays: dict[str, Leaf], stats: dict[str, Leaf]) -> dict[str, Leaf]:
    """A convolution's arrays with its norm in kernel and bias; all may have the same leading axes.

    Of a norm by itself, those of the depthwise 1x1 convolution that it is.
    """
    a = arrays["scale"] / (stats["var"] + EPSILON) ** 0.5
    rest: dict[str, Any] = {
        name: array for name, array in arrays.items() if name not in ("scale", "shift")
    }
    bias: Any = arrays["shift"] + (arrays.get("bias", 0) - stats["mean"]) * a
    kernels = {"kernel": 1} | {name: rest[name] for name in rest if name.startswith("kernel")}
    folds = {name: kernel * a[..., None, None, None, :] for name, kernel in kernels.items()}
    return rest | folds | {"bias": bias}


def without_norms(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """The operators of a folded network."""
    return tuple(_without_norm(op) if op.norm else op for op in ops)


def _without_norm(op: Op) -> Op:
    alone = {"kind": "conv", "groups": op.c_out} if op.kind == "identity" else {}
    return replace(op, norm=False, bias=True, **alone)


def fresh(key: PRNGKey, op: Op, scale: float = 1.0) -> dict[str, Any]:
    """Weights of an operator, its bias and its norm among them."""
    arrays = dict(OPERATORS[op.kind].fresh(key, op))
    if op.bias:
        arrays["bias"] = jnp.zeros(op.c_out, jnp.float32)
    if op.norm:
        arrays["scale"] = jnp.full(op.c_out, scale, jnp.float32)
        arrays["shift"] = jnp.zeros(op.c_out, jnp.float32)
    return arrays
