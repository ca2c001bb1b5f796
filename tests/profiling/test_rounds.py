from itertools import cycle

import numpy as np

from jaxnas.config import ProfileConfig
from jaxnas.hardware.device import ExportedModel, Measurement, failed_measurement
from jaxnas.profiling.rounds import measure_in_rounds, of_rounds


def measurement(latency_ms, p10_ms, median_ms, p90_ms, p99_ms, repeats=100, clock=""):
    return Measurement(
        "toy",
        latency_ms,
        p10_ms,
        p90_ms,
        repeats,
        1,
        "toy 1",
        median_ms=median_ms,
        p99_ms=p99_ms,
        clock=clock,
    )


ROUNDS = [
    measurement(1.00, 1.10, 1.20, 1.30, 1.40, clock="fast"),
    measurement(1.10, 1.15, 1.18, 1.25, 2.00, clock="usual"),
    measurement(1.12, 1.13, 1.16, 1.20, 1.30, repeats=20),
]


def test_rounds_come_to_one_measurement_whose_quantiles_hold_for_all_runs():
    whole = of_rounds(ROUNDS)
    # The fastest that another round agrees with.
    assert (whole.latency_ms, whole.clock) == (1.10, "usual")
    assert (whole.p10_ms, whole.median_ms, whole.p90_ms, whole.p99_ms, whole.repeats) == (
        1.10,
        1.18,
        1.30,
        2.00,
        220,
    )


def test_what_a_device_does_not_report_stays_unknown():
    bare = [measurement(1.0, np.nan, np.nan, np.nan, np.nan)] * 2
    assert np.isnan([of_rounds(bare).median_ms, of_rounds(bare).p99_ms]).all()


class Toy:
    name = "toy"

    def __init__(self, *rounds):
        self.rounds = cycle(rounds)
        self.turns = []

    def measure(self, model):
        self.turns.append(model.turn)
        return next(self.rounds)


def test_rounds_that_failed_are_left_out_unless_all_have():
    settings = ProfileConfig(rounds=3, more_rounds=0)
    model = ExportedModel(b"", np.zeros(1, np.int32))
    wrong = failed_measurement("toy", 1, "toy 1", ValueError("no"))
    toy = Toy(ROUNDS[0], wrong, ROUNDS[1])
    assert measure_in_rounds(toy, model, settings) == of_rounds(ROUNDS[:2]) and toy.turns == [
        0,
        1,
        2,
    ]
    assert measure_in_rounds(Toy(wrong), model, settings) is wrong
