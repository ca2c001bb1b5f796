"""How weights are moved: one optimizer for supernets and for single networks."""

import jax
import optax
from jaxtyping import PyTree


def sgd(learning_rate: optax.ScalarOrSchedule, weight_decay: float) -> optax.GradientTransformation:
    """SGD with Nesterov momentum 0.9; gradients clipped by value at 1, weight decay on kernels only (AttentiveNAS)."""
    return optax.chain(
        optax.clip(1.0),
        optax.add_decayed_weights(weight_decay, mask=_kernels),
        optax.sgd(learning_rate, momentum=0.9, nesterov=True),
    )


def _kernels(params: PyTree) -> PyTree:
    """True where an array is a kernel."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)
