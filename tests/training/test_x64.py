"""Under 64-bit JAX networks and their training stay as they are.

Another program's JAX_ENABLE_X64 asks for it.

Types are compared without compiling anything; random draws by their values.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.baselines import catalogue
from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation, augment
from jaxnas.data.batches import epoch_order
from jaxnas.data.pixels import Pixels
from jaxnas.networks.initializers import kaiming
from jaxnas.networks.op import Op
from jaxnas.numerics.int8 import Int8
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.supernets.build import build
from jaxnas.training.dropout import make_drop
from jaxnas.training.evaluate import Examples, accuracies, accuracy
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.finetune import _step as finetune_step
from jaxnas.training.finetune import init_state as finetune_state
from jaxnas.training.loop import init_state, make_step
from jaxnas.training.method import TrainConfig
from jaxnas.training.population import HybridConfig, orders, tuned_accuracies
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.views import Images


def array(*shape, dtype=jnp.float32) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)


KEY = jax.eval_shape(lambda: jax.random.key(0))
IMAGES = array(24, 8, 8, 1)
LABELS = array(24, dtype=jnp.int32)
EXAMPLES = Examples(IMAGES, LABELS, IMAGES)
TRAINING = Images(array(24, 9, 9, 1, dtype=jnp.uint8), LABELS, array(1), array(1))
ROWS = array(8, dtype=jnp.int32)
CROP = Augmentation(1, flip=True)


@pytest.fixture(scope="module")
def net():
    """Of few choices: the branches of a switch are traced one by one."""
    stage = Stage((8,), (1, 2), (3,), (2, 3), 2, squeeze_excite=True)
    return build(mobilenet_space("few", MobileNet((8,), (8,), 1, (stage,), (16,), 1, 10)))


@pytest.fixture(scope="module")
def params(net):
    return jax.eval_shape(net.init, KEY)


@pytest.fixture(scope="module")
def population(net):
    return array(3, len(net.space.genes), dtype=jnp.int32), array(3, dtype=bool)


def check(function, *arguments):
    """Traces the function under 64-bit JAX, where it must give the types that it gives without."""
    shapes = []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            shapes.append(jax.eval_shape(lambda *arguments: function(*arguments), *arguments))
    expected, found = (
        jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), one) for one in shapes
    )
    assert found == expected
    return shapes[0]


def test_networks(net, params, population):
    check(net.init, KEY)
    _, stats = check(net.apply, params, IMAGES, array(len(net.space.genes), dtype=jnp.int32))

    def alone(params, stats, images, labels):
        subnet = recalibrated(net.extract(params, net.space.largest, stats), images)
        return subnet.weights, subnet.stats, accuracy(subnet, images, labels)

    check(alone, params, stats, IMAGES, LABELS)
    check(
        lambda key: catalogue.init(key, catalogue.BASELINES["shufflenetv2_x0_5"](10)).weights, KEY
    )
    check(net.space.costs, population[0])


@pytest.mark.parametrize(
    "how",
    [
        {"switched": False},
        {"switched": False, "together": 2},
        {"switched": True},
        {"numerics": Int8()},
    ],
)
def test_evaluation(net, params, population, how):
    def found(params, genomes, live, training, examples):
        # Prepared a batch at a time.
        images = Pixels(training.images, training.mean, training.deviation, 8)
        return accuracies(net, params, genomes, live, examples._replace(images=images), **how)

    check(found, params, *population, TRAINING, EXAMPLES)


def test_evaluation_after_training(net, params, population):
    settings = HybridConfig(epochs=1, head_epochs=1, batch_size=8)

    def accuracies(key, params, genomes, live, images, examples):
        return tuned_accuracies(net, params, genomes, live, images, examples, settings, CROP, key)

    check(accuracies, KEY, params, *population, TRAINING, EXAMPLES)


@pytest.mark.parametrize("name", ["alphanet", "best_up", "ofa"])
def test_a_training_step(net, name):
    settings = TrainConfig(
        method=name, epochs=1, batch_size=8, random_subnets=1, dropout=0.1, accumulate=2
    )
    method = make_method(settings)
    state = check(lambda key: init_state(net, method, settings, 3, key), KEY)

    def step(state, key, images, rows):
        return make_step(net, method, settings, CROP, 3)(state, key, images, rows, resolution=8)

    check(step, state, KEY, TRAINING, ROWS)


def test_a_fine_tuning_step(net, params):
    ops = net.ops(net.space.largest)
    settings = FinetuneConfig(epochs=1, batch_size=8)

    def step(params, key, images, rows):
        state = finetune_state(net.extract(params, net.space.largest, {}), settings, 24)
        return finetune_step(state, key, images, rows, ops, settings, CROP, 8, 24)

    check(step, params, KEY, TRAINING, ROWS)


def test_random_draws(net):
    """A run that another shell takes up sees the same images in the same order."""
    images = jnp.asarray(np.arange(4 * 4 * 4, dtype=np.uint8).reshape(4, 4, 4, 1))
    ops = (Op("linear", "classifier", (-1,), 1, 1, 16, 2),)

    def draws():
        keys = jax.random.split(jax.random.key(0), 6)
        halves = HybridConfig(epochs=1, head_epochs=1, batch_size=6, share=0.5)
        features = jnp.ones((4, 1, 1, 16), jnp.float32)
        return (
            epoch_order(keys[0], 20, 6),
            orders(keys[1], 20, halves),
            augment(keys[2], images, 1, True),
            make_drop(ops, {0: 0.5}, keys[3])(0, features),
            kaiming(keys[4], (3, 3, 1, 4)),
        )

    found = []
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            found.append(jax.tree.leaves(jax.jit(draws)()))
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
