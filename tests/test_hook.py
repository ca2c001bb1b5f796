"""The hook of conftest.py checks types and shapes of what a test calls."""

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

from jaxnas.networks.op import Op
from jaxnas.supernets.interpreter import fitted
from jaxnas.training.losses import distillation_loss


def test_types_of_functions_and_dataclasses():
    with pytest.raises(TypeError, match="kind"):
        Op(3, "path", (0,), 1, 1, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="channels"):
        fitted(jnp.zeros((1, 2)), "2")  # type: ignore[arg-type]


def test_shapes_and_number_types():
    with pytest.raises(TypeCheckError):
        distillation_loss(jnp.zeros((3, 10)), jnp.zeros((2, 10)))
    with pytest.raises(TypeCheckError):
        distillation_loss(jnp.zeros((3, 10)), jnp.zeros((3, 10), jnp.int32))
