"""Eight devices train as one does."""

import os
import subprocess
import sys

import numpy as np
import pytest
from jax.sharding import Mesh

from jaxnas.errors import UserError
from jaxnas.training.parallel import check_divides, data_mesh

# The same two steps over eight devices and over one of them; the batch is cut in two parts, and
# every fourth image is odd.
PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh
from jaxnas.data.augment import Augmentation
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.supernets.build import build
from jaxnas.training.loop import init_state, make_step
from jaxnas.training.views import Images
from jaxnas.training.method import TrainConfig, TrainState
from jaxnas.training.parallel import all_devices, data_mesh, on_each
from jaxnas.training.sandwich import Sandwich, Uniform

stage = Stage((8, 16), (1, 2), (3,), (2, 3), 2, squeeze_excite=True)
net = build(mobilenet_space("little", MobileNet((12,), (8, 16), 1, (stage,), (16,), 1, 10)))
settings = TrainConfig(
    batch_size=32, random_subnets=1, warmup_epochs=0, accumulate=2, dropout=0.3, drop_connect=0.5
)
method = Sandwich(Uniform(settings.random_subnets), settings.label_smoothing)
random = np.random.default_rng(0)
pixels = random.integers(0, 256, (64, 12, 12, 1), np.uint8)
pixels[::4] //= 8
labels = np.arange(64, dtype=np.int32) % 10
moments = (np.full(1, 0.5, np.float32), np.ones(1, np.float32))
images = Images(*map(jnp.asarray, (pixels, labels, *moments)))

def trained(mesh, pixels=images):
    step = make_step(net, method, settings, Augmentation(), 10, mesh)
    state = init_state(net, method, settings, 10, jax.random.key(1))
    ones = jax.tree.map_with_path(
        lambda path, leaf: leaf + 0.5 * (path[-1].key == "scale"), state.params
    )
    state, pixels = on_each(mesh, (state._replace(params=ones), pixels))
    for i in range(2):
        rows = jnp.arange(32 * i, 32 * (i + 1), dtype=jnp.int32)
        state, losses = step(state, jax.random.key(i), pixels, rows, resolution=12)
    assert step._cache_size() == 1
    if mesh.size > 1:
        for leaf in jax.tree.leaves(state):
            assert leaf.sharding.is_fully_replicated and len(leaf.devices()) == 8
        text = step.lower(state, jax.random.key(0), pixels, rows, resolution=12).compile().as_text()
        assert "all-reduce" in text, "the devices do not share the work"
    return jax.device_get(state.params), jax.device_get(losses)

assert len(jax.devices()) == 8 and all_devices().size == 8 and data_mesh().size == 1
eight, one = trained(all_devices()), trained(Mesh(np.array(jax.devices()[:1]), ("data",)))
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), eight, one)
start = jax.device_get(init_state(net, method, settings, 10, jax.random.key(1)).params)
moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one[0]["last_conv"], start["last_conv"])
assert moved["feature"]["kernel"] > 2e-4, moved  # ten times the tolerance
"""


def test_eight_devices_agree_with_one():
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_batch_that_does_not_divide_is_an_error():
    mesh = data_mesh()
    check_divides(60, 4, mesh)
    with pytest.raises(
        UserError,
        match=(
            r"train.batch_size must be a multiple of 8 "
            r"\(train.accumulate\) x 1 \(devices\), got 60"
        ),
    ):
        check_divides(60, 8, Mesh(np.array(mesh.devices[:1]), ("data",)))
