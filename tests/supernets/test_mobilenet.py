"""The backbone of the library: the masked supernet under a genome equals the extracted network of that genome."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import SPACES
from jaxnas.spaces import mobilenet as spaces
from jaxnas.supernets.mobilenet import build
from jaxnas.supernets.subnet import forward

CASES = {"tiny16": spaces.tiny(16, 1, 10), "tiny28": spaces.tiny(28, 3, 4)}


def randomised(key, tree):
    """Weights with random norm scales and shifts: with the published initialisation (last scale 0) every subnet is the same."""

    def randomise(path, leaf):
        name, noise = path[-1].key, jax.random.normal(jax.random.fold_in(key, hash(jax.tree_util.keystr(path)) % 2**31), leaf.shape)
        if name in ("scale", "var"):
            return jnp.exp(0.3 * noise)
        return leaf + 0.3 * noise if name in ("shift", "bias", "mean") else leaf

    return jax.tree_util.tree_map_with_path(randomise, tree)
