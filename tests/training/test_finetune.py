"""Fine-tuning of one network."""

from typing import Any, cast

import jax
import numpy as np
import pytest

from jaxnas.data.augment import Augmentation
from jaxnas.data.batches import steps_of_epoch
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet
from jaxnas.supernets.supernet import take
from jaxnas.training import finetune as module
from jaxnas.training.finetune import FinetuneConfig, finetune
from jaxnas.training.loop import on_device

SETTINGS = FinetuneConfig(epochs=4, batch_size=32, learning_rate=0.02)


@pytest.fixture(scope="module")
def subnet(net, randomised):
    ops = net.ops(net.space.sample(jax.random.key(0), 1)[0])
    return Subnet(ops, take(randomised(net), ops), {})


def run(subnet, digits, state=None, start=0, **told):
    return list(
        finetune(
            subnet,
            on_device(digits),
            8,
            SETTINGS,
            Augmentation(),
            jax.random.key(1),
            state,
            start,
            **told,
        )
    )


@pytest.fixture(scope="module")
def uninterrupted(subnet, digits):
    step = cast(Any, module._step)
    before = step._cache_size()
    epochs = run(subnet, digits)
    assert step._cache_size() == before + 1  # one program for all steps
    return epochs


def test_the_loss_falls(uninterrupted):
    assert [epoch for epoch, *_ in uninterrupted] == [1, 2, 3, 4]
    losses = [float(loss) for *_, loss in uninterrupted]
    assert losses[-1] < 0.6 * losses[0]


def test_resumed_after_an_epoch_it_is_bit_identical(subnet, digits, uninterrupted):
    resumed = run(subnet, digits, uninterrupted[1][1], start=2)
    jax.tree.map(np.testing.assert_array_equal, resumed, uninterrupted[2:])


def test_every_step_tells_its_loss(subnet, digits, uninterrupted):
    losses = []
    run(subnet, digits, uninterrupted[1][1], start=2, stepped=losses.append)
    assert len(losses) == 2 * steps_of_epoch(320, SETTINGS.batch_size) == 20
    np.testing.assert_allclose(
        [np.mean(losses[:10]), np.mean(losses[10:])],
        [loss for *_, loss in uninterrupted[2:]],
        rtol=1e-6,
    )


def test_the_inherited_weights_are_left_as_they_were(subnet, uninterrupted):
    tuned = uninterrupted[-1][1].weights
    assert tuned.keys() == subnet.weights.keys()
    assert all(
        bool((tuned[path]["kernel"] != arrays["kernel"]).any())
        for path, arrays in subnet.weights.items()
    )


def test_a_batch_larger_than_the_training_split_is_an_error(subnet, digits):
    settings = FinetuneConfig(epochs=1, batch_size=321)
    with pytest.raises(
        UserError,
        match="batch_size must be at least 1 and at most the 320 training images, got 321",
    ):
        next(finetune(subnet, on_device(digits), 8, settings, Augmentation(), jax.random.key(0)))
