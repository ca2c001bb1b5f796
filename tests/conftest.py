"""Strict for every test: a key used twice is an error, shapes and types are checked, warnings are errors (pyproject.toml).

Set in the environment, so that programs started by a test inherit it; the hook must be in place before jaxnas is imported.
"""

import os
import zlib
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

CACHE = Path(__file__).parents[1] / ".pytest_cache"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles in two thirds of the time
os.environ["JAX_DEBUG_KEY_REUSE"] = "1"
os.environ["MPLBACKEND"] = "agg"

# The tower: an int is welcome where a float is expected.
install_import_hook("jaxnas", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


@pytest.fixture(scope="session")
def small_mobilenet():
    """Builds a space of two stages, which compiles fast: `small_mobilenet(resolutions, channels, classes)`."""
    from jaxnas.spaces.mobilenet import MobileNet, Stage, space

    stages = (Stage((8, 16), (1,), (3, 5), (1,), 1, False), Stage((16, 24), (1, 2), (3, 5), (2, 3), 2, True))
    return lambda resolutions, channels, classes: space(
        "small", MobileNet(resolutions, (8, 16), 2, stages, (16, 24), channels, classes)
    )


@pytest.fixture(scope="session")
def randomised():
    """A supernet's weights from a key, with random norms and biases and logits of deviation 1 or more.

    With the published initialisation, whose last scale of a block is 0, all subnets give nearly the same logits.
    """
    import jax
    import jax.numpy as jnp

    def randomise(key, path, leaf):
        where = jax.tree_util.keystr(path)
        noise = jax.random.normal(jax.random.fold_in(key, zlib.crc32(where.encode())), leaf.shape)
        if "classifier" in where:
            return noise
        name = path[-1].key
        return jnp.exp(0.3 * noise) if name == "scale" else leaf if name == "kernel" else 0.3 * noise

    def build(net, key):
        init_key, noise_key = jax.random.split(key)
        return jax.tree.map_with_path(lambda path, leaf: randomise(noise_key, path, leaf), net.init(init_key))

    return lambda net, key: jax.jit(lambda key: build(net, key))(key)
