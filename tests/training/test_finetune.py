"""Fine-tuning of one network."""

import itertools
from dataclasses import replace
from typing import Any, cast

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from jaxnas.data.augment import Augmentation, normalise
from jaxnas.data.batches import epoch_order, steps_of_epoch
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Subnet, forward
from jaxnas.supernets.supernet import take
from jaxnas.training import finetune as module
from jaxnas.training.finetune import FinetuneConfig, finetune, finetune_steps
from jaxnas.training.losses import hard_loss
from jaxnas.training.recalibrate import recalibrated
from jaxnas.training.views import on_device, training_batch

AUGMENTATION = Augmentation(transforms=("cutout:size=0.25", "cutmix:probability=0.2"))
SETTINGS = FinetuneConfig(
    epochs=4, batch_size=32, learning_rate=0.02, warmup_epochs=0.5, ema_decay=0.9
)


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
            AUGMENTATION,
            jax.random.key(1),
            state,
            start,
            **told,
        )
    )


@pytest.fixture(scope="module")
def uninterrupted(subnet, digits):
    step = cast(Any, module._step)
    step.clear_cache()
    epochs = run(subnet, digits)
    assert step._cache_size() == 1  # one program for all steps
    return epochs


def test_the_loss_falls(uninterrupted):
    assert [epoch for epoch, *_ in uninterrupted] == [1, 2, 3, 4]
    losses = [float(loss) for *_, loss in uninterrupted]
    assert losses[-1] < 0.6 * losses[0]


def test_resumed_after_an_epoch_it_is_bit_identical(subnet, digits, uninterrupted):
    resumed = run(subnet, digits, uninterrupted[1][1], start=2)
    jax.tree.map(np.testing.assert_array_equal, resumed, uninterrupted[2:])


def test_resumed_in_the_middle_of_an_epoch_weights_and_average_are_bit_identical(subnet, digits):
    def steps(state=None, start=0):
        images = on_device(digits)
        key = jax.random.key(1)
        return finetune_steps(subnet, images, 8, SETTINGS, AUGMENTATION, key, state, start)

    whole = {step: state for step, state, _ in itertools.islice(steps(), 15)}
    resumed = {step: state for step, state, _ in itertools.islice(steps(whole[7], 7), 8)}
    jax.tree.map(np.testing.assert_array_equal, resumed, {step: whole[step] for step in resumed})
    average = subnet.weights["classifier"]["kernel"]
    for step, state in whole.items():
        kept = min(0.9, step / (9 + step))  # step counts from 1
        average = kept * average + (1 - kept) * state.weights["classifier"]["kernel"]
        np.testing.assert_allclose(
            state.evaluated["classifier"]["kernel"], average, rtol=1e-4, atol=1e-5
        )
    assert np.abs(whole[15].weights["classifier"]["kernel"] - average).max() > 1e-3


def test_every_step_tells_its_loss(subnet, digits, uninterrupted):
    losses = []
    run(subnet, digits, uninterrupted[1][1], start=2, stepped=losses.append)
    assert len(losses) == 2 * steps_of_epoch(320, SETTINGS.batch_size) == 20
    np.testing.assert_allclose(
        [np.mean(losses[:10]), np.mean(losses[10:])],
        [loss for *_, loss in uninterrupted[2:]],
        rtol=1e-6,
    )


def test_a_teacher_has_its_share_of_the_loss(net, subnet, digits, randomised):
    settings = replace(SETTINGS, teacher="largest", distillation=0.25)
    images = on_device(digits, "balanced")
    ops = net.ops(net.space.largest)
    params = jax.tree.map(lambda leaf: 0.7 * leaf, randomised(net))
    calibration = normalise(digits.calibration.images, digits.mean, digits.deviation)
    teacher = recalibrated(Subnet(ops, take(params, ops), {}), calibration)

    def steps(*begun):
        given = (subnet, images, 8, settings, AUGMENTATION, jax.random.key(1))
        return finetune_steps(*given, *begun, teacher=teacher)

    (_, before, told), (_, state, loss) = itertools.islice(steps(), 2)

    order_key, step_key = jax.random.split(jax.random.key(1))
    rows = epoch_order(jax.random.fold_in(order_key, 0), 320, 32)[0]
    key = jax.random.split(jax.random.fold_in(step_key, 0), 10)[0]
    batch = training_batch(key, images, rows, AUGMENTATION, 8)
    logits = forward(subnet.ops, subnet.weights, batch.images)[0]
    hard = hard_loss(logits, batch.labels, 0.1, batch.weights)
    answers = softmax(np.asarray(teacher(batch.images), np.float64), -1)
    each = -(answers * log_softmax(np.asarray(logits, np.float64), -1)).sum(-1)
    distilled = (each * np.asarray(batch.weights)).mean()
    np.testing.assert_allclose(told, 0.75 * hard + 0.25 * distilled, rtol=1e-4)
    assert abs(hard - distilled) > 0.05
    resumed = next(steps(before, 1))
    jax.tree.map(np.testing.assert_array_equal, resumed[1:], (state, loss))


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
