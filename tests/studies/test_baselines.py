"""Networks of every origin under one recipe, on the run that the other tests have made."""

import json

import jax
import numpy as np
import pytest

from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.experiment import load_config
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import open_job
from jaxnas.studies.baselines import Contestant, contest, from_scratch
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.views import on_device


@pytest.fixture
def job(cli, run_copy):
    edited = json.loads((run_copy / "config.json").read_text())
    edited["finetune"] |= {"learning_rate": 0.1, "epochs": 3}
    (run_copy / "config.json").write_text(json.dumps(edited))
    with RunDirectory(run_copy) as run:
        yield open_job(run, load_config(str(run_copy)))


def test_each_is_trained_once_for_each_seed(job):
    """Digits are easy: three epochs from nothing are far from chance, a tenth."""
    ours = [
        Contestant(name, job.net.ops(genome), 8)
        for name, genome in (("small", job.space.smallest), ("large", job.space.largest))
    ]
    found = contest(job, ours, 2, "contest.csv")
    assert list(found) == ["small", "large"] and all(some.shape == (2,) for some in found.values())
    assert min(some.min() for some in found.values()) > 0.5
    assert found["large"][0] != found["large"][1]
    rows = job.run.read_csv("contest.csv")
    assert [(row["network"], row["seed"]) for row in rows] == [
        ("small", "0"),
        ("large", "0"),
        ("small", "1"),
        ("large", "1"),
    ]
    again = contest(job, ours[:1], 2, "contest.csv")
    np.testing.assert_array_equal(again["small"], found["small"])
    assert job.run.read_csv("contest.csv") == rows


def test_a_training_that_diverges_says_so(job):
    with pytest.raises(
        UserError, match="training diverged in epoch 1: lower the learning rate, 1e\\+30"
    ):
        settings = FinetuneConfig(epochs=2, learning_rate=1e30)
        from_scratch(
            jax.random.key(0),
            job.net.ops(job.space.smallest),
            on_device(job.data),
            job.calibration(8),
            settings,
            Augmentation(),
        )
