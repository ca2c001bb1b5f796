"""The optimizer and its schedule, by hand."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnas.errors import UserError
from jaxnas.training.optimizer import sgd, warmup_cosine


def test_the_optimizer_decays_kernels_and_their_transforms_only():
    names = ("kernel", "transform5", "transform3", "bias", "scale", "shift")
    params = {"a": {name: jnp.full(2, 2.0) for name in names}}
    tx = sgd(0.5, weight_decay=0.1)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    updated = cast(Any, optax.apply_updates(params, updates))["a"]
    for name in names[:3]:
        # Nesterov: 1 + momentum at the first step.
        np.testing.assert_allclose(updated[name], 2 - 0.5 * 1.9 * 0.1 * 2, rtol=1e-6)
    assert all((updated[name] == 2).all() for name in names[3:])


def test_an_array_of_another_name_is_refused_rather_than_left_without_decay():
    with pytest.raises(UserError, match=r"weight decay knows kernel, .* got an array 'query'"):
        sgd(0.5, weight_decay=0.1).init({"a": {"query": jnp.ones(2)}})


def test_the_optimizer_clips_by_value_and_has_nesterov_momentum():
    params = {"bias": jnp.zeros(3)}
    tx = sgd(1.0, weight_decay=0.0)
    gradients = {"bias": jnp.array([0.5, 7.0, -7.0])}
    state = tx.init(params)
    clipped = np.array([0.5, 1, -1])
    for scale in (1 + 0.9, 1 + 0.9 * 1.9):
        updates, state = tx.update(gradients, state, params)
        np.testing.assert_allclose(cast(Any, updates)["bias"], -scale * clipped, rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 1, 40])
def test_the_cosine_spans_all_steps_and_is_multiplied_with_the_warm_up(warmup):
    steps = np.arange(101)
    found = jax.vmap(warmup_cosine(0.8, warmup, 100))(jnp.asarray(steps))
    rise = np.where(steps < warmup, 0.001 + 0.999 * steps / max(warmup, 1), 1)
    np.testing.assert_allclose(found, 0.8 * rise * (1 + np.cos(np.pi * steps / 100)) / 2, atol=1e-6)
