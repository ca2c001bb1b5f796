"""A training on streamed images is that on images in memory."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import make_method
from jaxnas.data.augment import Augmentation
from jaxnas.data.streamed import Streamed
from jaxnas.errors import UserError
from jaxnas.training import loop
from jaxnas.training import streaming as module
from jaxnas.training.finetune import FinetuneConfig, finetune_steps
from jaxnas.training.loop import make_step, train
from jaxnas.training.method import TrainConfig
from jaxnas.training.streaming import training_images
from jaxnas.training.views import on_device

SETTINGS = TrainConfig(
    "spos", epochs=3, batch_size=80, random_subnets=1, warmup_epochs=0, class_weights="balanced"
)
AUGMENTATION = Augmentation(crop=1, flip=True)
STOP = 6  # in the middle of the second epoch of 4 steps
LAST = 10


@dataclass(frozen=True)
class Held:
    """A source whose images lie in memory."""

    images: np.ndarray

    def read(self, row):
        return self.images[row]

    def name(self, row):
        return str(row)


@pytest.fixture(scope="module")
def streamed(digits):
    train = digits.train
    split = Streamed("held", Held(train.images), train.labels, train.image_shape, "id", workers=0)
    return replace(digits, train=split)


def states(net, data, state=None, first=0):
    """{step: state and losses} of the steps from STOP on."""
    steps = train(
        net, data, make_method(SETTINGS), SETTINGS, AUGMENTATION, jax.random.key(3), state
    )
    return {
        step: jax.tree.map(np.array, (now, losses))
        for step, now, losses in islice(steps, LAST - first)
        if step >= STOP
    }


def test_streamed_and_resumed_a_training_is_the_same_as_in_memory(
    net, digits, streamed, monkeypatch
):
    once = cache(make_step)  # a program for either kind of images
    monkeypatch.setattr(loop, "make_step", once)
    held = states(net, digits)
    whole = states(net, streamed)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, held)
    monkeypatch.setattr(module, "READ_ROWS", 1)  # each epoch is read by processes of its own
    state = jax.tree.map(jnp.asarray, whole[STOP][0])
    resumed = states(net, streamed, state, STOP)
    assert list(resumed) == list(range(STOP + 1, LAST + 1))
    jax.tree.map(np.testing.assert_array_equal, resumed, {step: whole[step] for step in resumed})


def test_fine_tuning_too(net, digits, streamed):
    subnet = net.extract(jax.device_get(net.init(jax.random.key(0))), net.space.smallest, {})
    settings = FinetuneConfig(epochs=2, batch_size=100)

    def losses(data, start=0, state=None):
        steps = finetune_steps(
            subnet,
            training_images(data),
            8,
            settings,
            AUGMENTATION,
            jax.random.key(1),
            state,
            start,
        )
        return list(steps)

    held, found = losses(digits), losses(streamed)
    assert [step for step, *_ in found] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([loss for *_, loss in found], [loss for *_, loss in held], 1e-5)
    resumed = losses(streamed, 4, found[3][1])
    assert [step for step, *_ in resumed] == [5, 6]
    np.testing.assert_array_equal(resumed[-1][2], found[-1][2])


def test_a_step_has_batches_of_all_its_orders(digits, streamed):
    orders = tuple(jnp.arange(i, i + 12, dtype=jnp.int32).reshape(3, 4) for i in (5, 100))
    held = list(on_device(digits).batches([orders, orders]))
    found = list(training_images(streamed).batches([orders, orders]))
    assert len(held) == len(found) == 6
    for (all_of_them, rows), (some, own) in zip(held, found, strict=True):
        assert len(some.labels) == 8 and len(rows) == len(own) == 2
        for one, other in zip(rows, own, strict=True):
            assert (all_of_them.images[one] == some.images[other]).all()
            assert (all_of_them.labels[one] == some.labels[other]).all()


def test_who_needs_all_images_at_once_is_told(streamed):
    with pytest.raises(UserError, match=r"those of held are streamed: set data.stream never"):
        on_device(streamed)
