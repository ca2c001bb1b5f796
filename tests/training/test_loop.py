"""The training loop: resumed it is bit-identical, and every step is the same program."""

import itertools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.supernets.mobilenet import build
from jaxnas.training import loop
from jaxnas.training.loop import TrainConfig, init_state, make_step, on_device, total_steps, train
from jaxnas.training.sandwich import Losses

SETTINGS = TrainConfig(epochs=3, batch_size=32, random_subnets=1, learning_rate=0.1, warmup_epochs=0.5)
STOP = 26  # in the middle of an epoch


def run(net, digits, state=None, last=30):
    """{step: (state, losses)}, copied to the host, since the next step consumes the state."""
    key = jax.random.key(0)
    steps = itertools.takewhile(lambda item: item[0] <= last, train(net, digits, SETTINGS, Augmentation(), key, state))
    return {step: jax.tree.map(np.array, (state, losses)) for step, state, losses in steps}


@pytest.fixture(scope="module")
def uninterrupted(net, digits):
    return run(net, digits)


def assert_identical(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_loss_falls(uninterrupted):
    assert list(uninterrupted) == list(range(1, 31))
    first, last = (np.mean([uninterrupted[step][1] for step in steps], axis=0) for steps in (range(1, 4), range(28, 31)))
    assert (first > 2.2).all()  # ln 10 = 2.3
    assert (last < first - 0.05).all() and last[0] < first[0] - 0.3
    assert int(uninterrupted[30][0].step) == 30


def test_resumed_it_is_bit_identical(net, digits, uninterrupted):
    resumed = run(net, digits, jax.tree.map(jnp.asarray, uninterrupted[STOP][0]))
    assert list(resumed) == list(range(STOP + 1, 31))
    assert_identical(resumed, {step: uninterrupted[step] for step in resumed})


def test_the_same_key_gives_the_same_training(net, digits, uninterrupted):
    again = run(net, digits, last=2)
    assert_identical(again, {step: uninterrupted[step] for step in (1, 2)})


def test_a_finished_training_does_nothing(net, digits, uninterrupted):
    assert run(net, digits, jax.tree.map(jnp.asarray, uninterrupted[30][0])) == {}


def test_every_step_is_the_same_program(net, digits):
    step = cast(Any, make_step(net, SETTINGS, Augmentation(), 30))
    state, images = init_state(net, SETTINGS, 30, jax.random.key(0)), on_device(digits)
    for i in range(3):
        rows = jnp.arange(32 * i, 32 * (i + 1), dtype=jnp.int32)
        state, _ = step(state, jax.random.key(i), images, rows, resolution=8)
    assert step._cache_size() == 1
    assert int(state.step) == 3


def test_resolutions_take_turns_and_an_epoch_sees_every_image_once(small_mobilenet, digits, monkeypatch):
    net, seen = build(small_mobilenet((6, 8), 1, 10)), []

    def make_step(*arguments):
        def step(state, key, images, rows, *, resolution):
            seen.append((resolution, rows, key))
            return state._replace(step=state.step + 1), Losses(*(jnp.float32(0),) * 3)

        return step

    monkeypatch.setattr(loop, "make_step", make_step)
    start = init_state(net, SETTINGS, 30, jax.random.key(1))
    done = [step for step, *_ in train(net, digits, SETTINGS, Augmentation(), jax.random.key(0), start)]
    assert done == list(range(1, 31)) and total_steps(SETTINGS, digits) == 30
    assert [resolution for resolution, *_ in seen] == [6, 8] * 15
    epochs = [np.concatenate([rows for _, rows, _ in seen[i : i + 10]]) for i in (0, 10, 20)]
    assert all(sorted(epoch.tolist()) == list(range(320)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert len({tuple(jax.random.key_data(key).tolist()) for *_, key in seen}) == 30


def test_a_batch_larger_than_the_training_split_is_an_error(net, digits):
    settings = TrainConfig(epochs=1, batch_size=321)
    with pytest.raises(UserError, match="batch_size must be at least 1 and at most the 320 training images, got 321"):
        next(train(net, digits, settings, Augmentation(), jax.random.key(0)))
