"""Objectives on analog chips: their figures, their times, and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import OBJECTIVES, SearchConfig, make_device, make_memory, make_objective
from jaxnas.config import ProfileConfig as Profile
from jaxnas.errors import UserError
from jaxnas.hardware.analog_chip import PCM, RERAM
from jaxnas.hardware.analog_layer import ChipMemory
from jaxnas.hardware.cost_model import Modelled
from jaxnas.objectives.analog import AnalogConfig, is_analog, times_of
from jaxnas.objectives.objective import Context, EvaluationInputs, fitness
from jaxnas.spaces.mobilenet import mobilenet_space
from jaxnas.spaces.mobilenet_structure import MobileNet, Stage
from jaxnas.supernets.build import build
from jaxnas.training.evaluate import Examples
from jaxnas.training.evaluate_analog import Trials

NAMES = ("analog_error@1day", "analog_variation", "analog_deviation@1day", "analog_error@60s")
DRAWN = np.random.default_rng(0).uniform(0.3, 0.9, (5, 4, 4)).astype("f4")


@pytest.fixture(scope="module")
def net():
    structure = MobileNet((8,), (8,), 1, (Stage((8, 16), (1,), (3,), (1,), 2),), (16,), 3, 4)
    return build(mobilenet_space("analog", structure))


def context(net, chip=PCM, programmings=4):
    trials = Trials(jax.random.key(0), programmings, times_of(NAMES))
    return Context(net, Modelled(PCM), analog=(ChipMemory(chip), trials))


def test_figures_are_made_of_one_evaluation(net):
    traces = []

    def evaluate(genomes, inputs):
        traces.append(None)
        return jnp.asarray(DRAWN)[genomes.sum(1) % 5]

    both = context(net)
    both.shared["analog_error"] = evaluate
    made = [make_objective(name)(both) for name in NAMES]
    assert [one.name for one in made] == list(NAMES) and all(one.unit and one.label for one in made)
    nothing = jnp.zeros((1, 8, 8, 3))
    examples = Examples(nothing, jnp.zeros(1, jnp.int32), nothing)
    inputs = [EvaluationInputs({}, {}, jnp.int32(0), examples)]
    genomes = np.asarray(net.space.sample(jax.random.key(0), 5))
    found = fitness(net.space, made, inputs)(genomes)
    assert len(traces) == 1 and times_of(NAMES) == (1.0, 60.0, 86400.0, 2592000.0)
    drawn = DRAWN[genomes.sum(1) % 5]
    expected = [
        1 - drawn[:, :, 2].mean(1),
        100 * (drawn[:, :, 0] - drawn[:, :, 3]).mean(1),
        100 * drawn[:, :, 2].std(1, ddof=1),
        1 - drawn[:, :, 1].mean(1),
    ]
    np.testing.assert_allclose(found, np.stack(expected, 1), rtol=1e-5)


def test_the_names_of_the_dict_are_of_this_kind():
    names = [name for name in OBJECTIVES if is_analog(name)]
    assert [name.partition("@")[0] for name in names] == [
        "analog_error",
        "analog_variation",
        "analog_deviation",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "analog_error",
            "analog_error needs the time after programming, .* got analog_error: write",
        ),
        ("analog_error@soon", "got analog_error@soon: write analog_error@1day"),
        ("analog_error@-1day", "a number and s, min, h or days"),
        ("analog_deviation@1month", "write analog_deviation@1day"),
        ("analog_variation@1day", "from 1 s to 30 days, and takes no time"),
        ("analog_joy@1day", "unknown objective 'analog_joy@1day'; known: analog_deviation@1day"),
    ],
)
def test_names_that_say_no_time_are_refused(name, said):
    with pytest.raises(UserError, match=said):
        make_objective(name)


def test_what_the_chip_does_not_say_is_refused(net):
    with pytest.raises(UserError, match="was measured 1, 86400, 172800 s after programming"):
        make_objective("analog_variation")(context(net, RERAM))
    with pytest.raises(UserError, match=r"search.analog.programmings is 1: write 2 or more"):
        make_objective("analog_deviation@1day")(context(net, programmings=1))


def test_the_chip_is_the_device_where_that_is_one():
    pcm, raptor = (make_device(Profile(device=name)) for name in ("hermes", "raptor"))
    settings = SearchConfig()
    assert make_memory(settings, pcm).name == "hermes"
    assert make_memory(settings, raptor).name == "pcm"
    own = replace(settings, analog=AnalogConfig(chip="reram"))
    assert make_memory(own, pcm).name == "reram"
    with pytest.raises(UserError, match=r"search.analog.chip must be a chip .* got raptor"):
        make_memory(replace(settings, analog=AnalogConfig(chip="raptor")), pcm)
