"""A search by gradient from its settings to the candidates: two costs, one training."""

import re
from functools import partial

import numpy as np
import pytest

from jaxnas.config import Config, DataConfig, ProfileConfig, SearchConfig
from jaxnas.errors import UserError
from jaxnas.pipeline import run_stages
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.derived import read_derived
from jaxnas.records.metrics import read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.report.gradient import read_gradient
from jaxnas.stages.checks import check_fit, check_settings
from jaxnas.stages.job import load_data, load_space
from jaxnas.training.method import TrainConfig

RELAXED = RelaxedConfig("sampled", learning_rate=0.3, cost="mmacs", cost_weights=(0.0, 300.0))


MEASURED = ProfileConfig(train=20, validation=10, test=10)


def paid(cost, *weights):
    return RelaxedConfig(cost=cost, cost_weights=weights or (1.0, 2.0, 3.0))


def config(**others):
    relaxed = others.pop("relaxed", RELAXED)
    settings = {
        "data": DataConfig(search_images=100, calibration_images=64),
        "train": TrainConfig("relaxed", epochs=3, batch_size=64, relaxed=relaxed),
        "profile": ProfileConfig("raptor_small", train=20, validation=10, test=10),
        "search": SearchConfig(
            population=8, generations=1, images=40, objectives=("error", "mmacs")
        ),
    }
    return Config("gradient", space="edges", **settings | others)


@pytest.fixture(scope="module", autouse=True)
def known(edges_space):
    from jaxnas import config

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.SPACES, "edges", partial(edges_space, choices=(1, 2, 3)))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, capfd_of_module):
    folder = tmp_path_factory.mktemp("gradient")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXNAS_CACHE", str(folder / "cache"))
        run_stages(["data", "train", "search"], config(), str(folder / "run"))
    return RunDirectory(folder / "run"), capfd_of_module()


@pytest.fixture(scope="module")
def capfd_of_module():
    """What was written to stderr so far."""
    import io
    import sys

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        yield lambda: sys.stderr.getvalue()  # type: ignore


def test_each_weight_leaves_a_network_that_is_a_candidate(run):
    derived = read_derived(run[0])
    assert [one.label for one in derived] == ["cost weight 0", "cost weight 300"]
    searched = read_searched(run[0], CANDIDATES)
    for one, genome, error, mmacs in zip(
        derived, searched.archive.genomes, searched["error"], searched["mmacs"], strict=False
    ):
        np.testing.assert_array_equal(one.genome, genome)
        assert one.accuracy == pytest.approx(1 - error, abs=1e-6)
        assert one.cost == pytest.approx(mmacs, rel=1e-5)
    assert derived[1].cost < derived[0].cost and 0 < derived[1].relaxed_accuracy < 1


def test_a_collapse_is_said_before_nine_tenths_of_the_steps(run):
    dear = read_derived(run[0])[1]
    assert dear.collapsed and dear.skips >= 3
    said = re.findall(r"step (\d+) of 60: the architecture of cost weight 300 collapses", run[1])
    assert len(said) == 1 and 30 <= int(said[0]) <= 54


def test_metrics_and_report_tell_how_it_was_decided(run):
    lines = [line for line in read_metrics(run[0]) if line.get("event") == "architecture"]
    assert len(lines) == 2 * 60 and {len(line["entropy"]) for line in lines} == {4}
    dear = [line for line in lines if line["label"] == "cost weight 300"]
    assert np.mean(dear[-1]["entropy"]) < np.mean(dear[0]["entropy"]) - 0.2
    assert dear[-1]["cost"] < 0.5 * dear[0]["cost"] and dear[-1]["skips"] >= 3
    shown = read_gradient(run[0])
    assert shown is not None and len(shown["networks"]) == 2 and shown["priced"]
    assert any("of cost weight 300 collapses to skips" in one for one in shown["collapses"])


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"search": SearchConfig("evosax:PSO")}, "evosax:PSO cannot begin with the networks"),
        ({"search": SearchConfig(population=2)}, "search.population must be at least the 3"),
        ({"relaxed": paid("mmacs", -1.0)}, "cost_weights must be at least 0, got -1"),
        ({"relaxed": paid("joules")}, "unknown expected cost 'joules'; known: "),
        ({"relaxed": paid("latency_ms"), "profile": MEASURED}, "onnxruntime measures networks"),
    ],
)
def test_what_cannot_work_is_refused_at_once(others, message):
    settings = config(**{"relaxed": paid("mmacs")} | others)
    with pytest.raises(UserError, match=re.escape(message)):
        check_settings(settings)
        data = load_data(settings.data, 0)
        check_fit(settings, data, load_space(settings, data))
