"""When a training says how it fares."""

import jax
import numpy as np
import pytest

from jaxnas.records.metrics import read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages import train
from jaxnas.stages.evaluation import search_split
from jaxnas.stages.job import open_job
from jaxnas.stages.settings import recorded_settings
from jaxnas.stages.train import Lines
from jaxnas.training.evaluate import accuracy
from jaxnas.training.method import TrainConfig
from jaxnas.weights import trained


def test_lines_come_at_first_at_ends_of_epochs_and_by_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(train.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(train, "LOGGED", 3)
    settings = TrainConfig(epochs=4, batch_size=6, log_seconds=2.0)
    lines = Lines(settings, lambda step: 0.1 * step, total=40, done=0)
    found = {}
    for step in range(1, 41):
        clock[0] += 0.25 if step > 20 else 0.125
        if lines.due(step):
            found[step] = lines.speed(step)
            lines.written(step)
    assert list(found) == [1, 2, 3, 10, 20, 28, 30, 38, 40]
    assert found[10] == {"learning_rate": pytest.approx(0.9), "step_ms": 125, "images_per_s": 48}
    assert found[30]["step_ms"] == 250


def test_a_resumed_training_counts_its_own_steps_and_a_week_has_a_line_every_ten_seconds():
    settings = TrainConfig(epochs=1000, batch_size=6)
    lines = Lines(settings, lambda step: 0.1, total=10**6, done=500)
    assert not lines.due(501)
    lines.time -= settings.log_seconds
    assert lines.due(501) and lines.speed(501)["step_ms"] == pytest.approx(10_000, rel=0.01)
    lines.written(501)
    assert not lines.due(502)


def test_accuracies_after_an_epoch_are_those_of_the_networks_themselves(finished_run, cli):
    run = RunDirectory(finished_run)
    job = open_job(run, recorded_settings(run))
    *_, last = (line for line in read_metrics(run) if "loss_largest" in line)
    assert last["step"] == 20 and 0 < last["accuracy_random"] <= 1
    params = jax.device_get(job.params())
    state = job.train_state()
    assert state is not None
    jax.tree.map(np.testing.assert_array_equal, params, state.average)
    jax.tree.map(
        np.testing.assert_array_equal,
        trained.load(run.path(trained.FILES[0]), job.net).params,
        params,
    )
    kernel = state.params["classifier"]["kernel"]
    assert np.abs(kernel - params["classifier"]["kernel"]).max() > 1e-3
    for name in ("smallest", "largest"):
        genome = getattr(job.space, name)
        examples = job.examples(search_split(job), job.resolution(genome))
        subnet = job.inherited(params, genome)
        alone = float(accuracy(subnet, examples.images, examples.labels))
        assert last[f"accuracy_{name}"] == pytest.approx(alone, abs=0.026)  # an image of 40
    others = [line for line in read_metrics(run) if "loss_largest" in line][:-1]
    assert not any("accuracy_random" in line for line in others)
