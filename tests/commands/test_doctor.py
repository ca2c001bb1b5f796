"""`jaxnas doctor`."""

import math
from dataclasses import dataclass, field

import pytest

from jaxnas.commands.doctor import ROUNDS, noise
from jaxnas.errors import UserError
from jaxnas.hardware.device import Measurement


@dataclass
class Replies:
    """A device that answers with these latencies in turn."""

    latencies: list[float]
    failure: str = ""
    turns: list[int] = field(default_factory=list)
    name: str = "replies"

    def measure(self, model):
        self.turns.append(model.turn)
        ms = self.latencies[model.turn]
        return Measurement(self.name, ms, ms, ms, 9, 1, "runtime 1", self.failure)


def test_this_machine_is_told_and_a_model_is_no_device(cli):
    code, errors = cli("doctor", "--device", "raptor_small")
    assert (code, errors) == (0, [])
    for word in (
        "processor:",
        "convolutions on a CPU:",
        "jax devices:",
        "onnxruntime:",
        "GiB free",
        "raptor_small: simulated",
    ):
        assert word in cli.printed


def test_noise_is_how_far_measurements_are_apart():
    device = Replies([2.0, 2.1, 2.0, 2.2, 2.04])
    said = noise(device)
    assert "2.00 ms, 5 measurements are 10.0 % apart" in said
    assert device.turns == list(range(ROUNDS))
    assert "stop what else runs there" in noise(Replies([2.0, 2.0, 2.0, 3.0, 2.0]))


def test_a_device_that_runs_nothing_is_refused():
    with pytest.raises(UserError, match="replies does not run a small network: no memory"):
        noise(Replies([math.nan] * ROUNDS, "no memory"))


def test_a_device_that_is_not_there_is_one_line(cli):
    code, errors = cli("doctor", "--device", "nonesuch")
    assert code == 2 and len(errors) == 1 and "known: " in errors[0]
