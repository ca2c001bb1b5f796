import jax.numpy as jnp

from jaxnas.networks.activations import ACTIVATIONS, KEEP_ZERO


def test_the_activations_that_keep_zeros_are_named():
    kept = {name for name, act in ACTIVATIONS.items() if act(jnp.zeros(())) == 0}
    assert kept == set(KEEP_ZERO)
