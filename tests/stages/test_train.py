"""When a training says how it fares."""

import pytest

from jaxnas.stages import train
from jaxnas.stages.train import Said
from jaxnas.training.method import TrainConfig


def test_lines_come_at_first_at_ends_of_epochs_and_by_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(train.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(train, "LOGGED", 3)
    settings = TrainConfig(epochs=4, batch_size=6, log_seconds=2.0)
    said = Said(settings, lambda step: 0.1 * step, total=40, done=0)
    lines = {}
    for step in range(1, 41):
        clock[0] += 0.25 if step > 20 else 0.125
        if said.due(step):
            lines[step] = said.speed(step)
    assert list(lines) == [1, 2, 3, 10, 20, 28, 30, 38, 40]
    assert lines[10] == {"learning_rate": pytest.approx(0.9), "step_ms": 125, "images_per_s": 48}
    assert lines[30]["step_ms"] == 250


def test_a_resumed_training_counts_its_own_steps_and_a_week_has_a_line_every_ten_seconds():
    settings = TrainConfig(epochs=1000, batch_size=6)
    said = Said(settings, lambda step: 0.1, total=10**6, done=500)
    assert not said.due(501)
    said.time -= settings.log_seconds
    assert said.due(501) and said.speed(501)["step_ms"] == pytest.approx(10_000, rel=0.01)
    assert not said.due(502)
