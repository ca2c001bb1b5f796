"""The training loop, by every method.

Resumed it is bit-identical, and every step is the same program.
"""

import itertools
from collections import namedtuple
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import METHODS, make_method
from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.stages.job import RENAMED
from jaxnas.training import loop
from jaxnas.training.loop import init_state, make_step, total_steps, train
from jaxnas.training.losses import hard_loss
from jaxnas.training.method import Losses, TrainConfig
from jaxnas.training.sandwich import Sandwich
from jaxnas.training.shrinking import phase_starts
from jaxnas.training.views import on_device
from jaxnas.weights import checkpoints

SETTINGS = TrainConfig(
    epochs=3,
    batch_size=8,
    random_subnets=1,
    candidates=2,
    learning_rate=0.1,
    warmup_epochs=0.2,
    dropout=0.1,
    drop_connect=0.1,
    ema_decay=0.9,
)
VARIANTS = {method: replace(SETTINGS, method=method) for method in METHODS}
METHOD = make_method(SETTINGS)
STEPS = 120
STOP = 61  # in the middle of an epoch, and where a phase of ofa begins
LAST = 67  # a later phase has begun
AUGMENTATION = Augmentation()


def fresh(net, settings):
    return init_state(net, make_method(settings), settings, STEPS, jax.random.key(0))


def run(net, digits, settings, state=None, last=STEPS):
    """{step: (state, losses)} of the last steps, {step: losses} of all.

    Copied to the host, since the next step consumes the state.
    """
    kept = {}
    losses = {}
    for step, current, found in train(
        net, digits, make_method(settings), settings, AUGMENTATION, jax.random.key(3), state
    ):
        losses[step] = found
        if STOP <= step <= LAST or step == last:
            kept[step] = jax.tree.map(np.array, (current, found))
        if step == last:
            break
    return kept, {step: jax.tree.map(np.array, found) for step, found in losses.items()}


@pytest.fixture(scope="module")
def steps():
    """{settings: the step}, so that each is compiled once for all trainings."""
    made = {}

    def make(net, method, settings, *rest):
        if settings not in made:
            made[settings] = make_step(net, method, settings, *rest)
        return made[settings]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", make)
        yield made


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, net, digits, steps):
    """Settings, a whole training, and the number of programs that it took."""
    settings = VARIANTS[request.param]
    return settings, *run(net, digits, settings), steps[settings]._cache_size()


def assert_identical(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_steps_with_other_genomes_each_are_one_program(variant):
    *_, losses, programs = variant
    assert list(losses) == list(range(1, STEPS + 1))
    assert programs == 1


def test_the_loss_falls(variant):
    settings, _, losses, _ = variant
    # Of ofa the largest network is trained in the first phase, of 37 steps: over 16 draws of fresh
    # weights its loss falls by 0.17 in the mean, where 120 steps take 0.5 off.
    at, least = (phase_starts(STEPS)[1], 0.1) if settings.method == "ofa" else (STEPS, 0.2)
    alone = losses[1].largest is None  # no network is trained in every step
    first, last = (
        np.mean([losses[step].random if alone else losses[step].largest for step in steps])
        for steps in (range(1, 4), range(at - 5, at))
    )
    assert first > 2.2  # ln 10 = 2.3
    assert last < first - least
    if settings.method not in ("alphanet", "ofa"):
        assert (
            np.mean([losses[step].random for step in range(STEPS - 5, STEPS)])
            < losses[1].random - 0.1
        )


def test_resumed_it_is_bit_identical(net, digits, variant):
    settings, kept, _, _ = variant
    resumed, _ = run(net, digits, settings, jax.tree.map(jnp.asarray, kept[STOP][0]), LAST)
    assert list(resumed) == list(range(STOP + 1, LAST + 1))
    assert_identical(resumed, {step: kept[step] for step in resumed})


def test_in_bfloat16_and_in_parts_weights_and_losses_are_float32(net, digits):
    settings = replace(SETTINGS, precision="bfloat16", accumulate=2)
    key = jax.random.key(0)
    step = cast(Any, make_step(net, METHOD, settings, AUGMENTATION, STEPS))
    start = fresh(net, settings)
    found, losses = step.eval_shape(
        start, key, on_device(digits), jnp.arange(8, dtype=jnp.int32), resolution=8
    )
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), start
    )
    assert {leaf.dtype.name for leaf in jax.tree.leaves((found.params, losses))} == {"float32"}


def test_the_teacher_is_the_largest_network_as_the_first_phase_left_it(net, digits, steps):
    settings = VARIANTS["ofa"]
    start = phase_starts(STEPS)[1]
    training = itertools.islice(
        train(net, digits, make_method(settings), settings, AUGMENTATION, jax.random.key(0)),
        start + 2,
    )
    states = {step: jax.tree.map(np.array, state) for step, state, _ in training}
    before = states[start]
    after = states[start + 2]
    assert not any(leaf.any() for leaf in jax.tree.leaves(before.extra))
    assert_identical(after.extra, before.params)
    distance = np.abs(after.average["classifier"]["kernel"] - before.params["classifier"]["kernel"])
    assert 0 < distance.max() < 0.1  # it began anew with the phase's weights
    assert not np.array_equal(
        after.params["classifier"]["kernel"], after.extra["classifier"]["kernel"]
    )
    counts = [leaf for leaf in jax.tree.leaves(after.optimizer) if leaf.ndim == 0]
    assert counts == [start + 2]  # the schedule goes on; the momentum is that of two steps
    first = states[start + 1]
    moved = np.abs(first.params["classifier"]["bias"] - before.params["classifier"]["bias"]).max()
    assert moved < 0.1 * np.abs(before.optimizer[2][0].trace["classifier"]["bias"]).max()


def test_a_checkpoint_of_ofa_holds_the_teacher(net, tmp_path):
    state = fresh(net, VARIANTS["ofa"])
    state = state._replace(extra=jax.tree.map(lambda leaf: leaf + 1, state.params))
    checkpoints.save(tmp_path, 3, state)
    target = jax.eval_shape(lambda: fresh(net, VARIANTS["ofa"]))
    assert_identical(checkpoints.restore(tmp_path, target), state)


def test_a_checkpoint_from_before_methods_had_a_state_of_their_own_is_read(net, tmp_path):
    settings = replace(VARIANTS["ofa"], ema_decay=0.0)
    state = fresh(net, settings)
    extra = jax.tree.map(lambda leaf: leaf + 1, state.params)
    older = namedtuple("TrainState", ("params", "optimizer", "step", "teacher"))
    checkpoints.save(tmp_path, 3, older(*state._replace(extra=extra)[:4]))
    target = jax.eval_shape(lambda: fresh(net, settings))
    assert_identical(checkpoints.restore(tmp_path, target, RENAMED).extra, extra)
    with pytest.raises(UserError, match="another network"):
        checkpoints.restore(tmp_path, target)


def test_a_finished_training_does_nothing(net, digits):
    state = fresh(net, SETTINGS)._replace(step=jnp.int32(STEPS))
    assert run(net, digits, SETTINGS, state) == ({}, {})


def test_resolutions_take_turns_and_an_epoch_sees_every_image_once(little, digits, monkeypatch):
    net = little((6, 8))
    seen = []

    def make_step(*arguments):
        def step(state, key, images, rows, *, resolution):
            seen.append((resolution, rows, key))
            return state._replace(step=state.step + 1), Losses(*(jnp.float32(0),) * 3)

        return step

    monkeypatch.setattr(loop, "make_step", make_step)
    settings = replace(SETTINGS, batch_size=32)
    _, losses = run(net, digits, settings, fresh(net, settings))
    assert list(losses) == list(range(1, 31)) and total_steps(settings, digits) == 30
    assert [resolution for resolution, *_ in seen] == [6, 8] * 15
    epochs = [np.concatenate([rows for _, rows, _ in seen[i : i + 10]]) for i in (0, 10, 20)]
    assert all(sorted(epoch.tolist()) == list(range(320)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert len({tuple(jax.random.key_data(key).tolist()) for *_, key in seen}) == 30


def test_a_batch_larger_than_the_training_split_is_an_error(net, digits):
    settings = TrainConfig(epochs=1, batch_size=321)
    with pytest.raises(
        UserError,
        match="batch_size must be at least 1 and at most the 320 training images, got 321",
    ):
        run(net, digits, settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "half"}, "unknown precision 'half'; known: bfloat16, float32"),
        ({"accumulate": 3}, "train.batch_size must be a multiple of 3"),
    ],
)
def test_settings_that_make_no_sense_are_errors(net, settings, message):
    with pytest.raises(UserError, match=message):
        make_step(net, METHOD, replace(SETTINGS, **cast(Any, settings)), AUGMENTATION, STEPS)


@dataclass(frozen=True)
class Smallest:
    """A method from outside: trains the smallest network alone, and counts parts of batches."""

    def check(self, space):
        pass

    def schedule(self, settings, steps):
        return Sandwich().schedule(settings, steps)

    def init(self, params):
        return {"parts": jnp.int32(0)}

    def begin(self, net, done, steps, params, extra):
        return (params, {"parts": extra["parts"] + 100}) if done == 2 else None

    def draw(self, net, state, steps, batch, key):
        return jnp.asarray(net.space.smallest)

    def gradients(self, net, state, steps, batch, subnets, drop):
        def loss(params):
            return hard_loss(net.apply(params, batch.images, subnets)[0], batch.labels, 0.0)

        value, found = jax.value_and_grad(loss)(state.params)
        return found, {"parts": state.extra["parts"] + 1}, Losses(None, None, value)


def test_a_method_of_ones_own_keeps_a_state_of_its_own(net, digits):
    settings = replace(SETTINGS, accumulate=2, drop_connect=0.0)
    training = train(net, digits, Smallest(), settings, AUGMENTATION, jax.random.key(0))
    states = [jax.tree.map(np.array, state) for _, state, _ in itertools.islice(training, 3)]
    assert [state.extra["parts"] for state in states] == [2, 4, 106]
    shift = states[2].params["classifier"]["bias"] - states[1].params["classifier"]["bias"]
    momentum = states[2].optimizer[2][0].trace["classifier"]["bias"]
    assert np.abs(shift).max() > 0
    rate = np.asarray(Smallest().schedule(settings, STEPS)(2))
    np.testing.assert_allclose(shift, -1.9 * rate * momentum, rtol=1e-3)  # it began anew
