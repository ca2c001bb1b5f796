"""What the stage says of a predictor, good, weak and diverged."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import PREDICTORS
from jaxnas.predictors import mlp
from jaxnas.records.predictor import read_predictions
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.evaluation import read_models
from jaxnas.stages.job import open_job
from jaxnas.stages.predict import LEAST_PEARSON
from jaxnas.stages.settings import read_config

SETTINGS = {"lstm_gcn_af": {"steps": 60}}
FILES = ("predictor.npz", "predictions.csv", "predictor.json")


@pytest.fixture
def predicted(cli, run_copy, monkeypatch):
    """Fits the predictor of a finished run again, changed.

    The exit code, what was said, and the run.
    """
    real = mlp.fit

    def again(change):
        for file in FILES:
            (run_copy / file).unlink(missing_ok=True)
        monkeypatch.setattr(mlp, "fit", lambda *arguments: change(real(*arguments)))
        code, lines = cli("predict", run_copy)
        return code, " ".join(lines), RunDirectory(run_copy)

    return again


def test_the_log_quotes_the_test_networks_and_warns_of_a_weak_predictor(predicted):
    code, said, run = predicted(lambda model: model)
    good = run.read_json("predictor.json")
    assert code == 0 and f"Pearson {good['test']['pearson']:.3f} on test" in said
    assert ("WARNING" in said) == (good["test"]["pearson"] < LEAST_PEARSON)
    code, said, run = predicted(lambda model: model._replace(w2=-model.w2, b2=-model.b2))
    turned = run.read_json("predictor.json")["test"]["pearson"]
    assert code == 0 and turned * good["test"]["pearson"] < 0
    assert ("WARNING" in said and "profile.train" in said) == (turned < LEAST_PEARSON)
    assert min(turned, good["test"]["pearson"]) < 0  # one of the two was warned of


def test_a_predictor_that_diverged_is_refused_and_not_kept(predicted):
    code, said, run = predicted(lambda model: model._replace(b1=model.b1 * float("nan")))
    assert code == 2 and "training diverged" in said and "predict.learning_rate" in said
    assert not run.exists("predictor.npz")


def with_method(run, method) -> None:
    """Changes the predictor of a run, or leaves it out of the settings; what was fitted goes."""
    settings = json.loads((run / "config.json").read_text())
    if method is None:
        del settings["predict"]["method"]
    else:
        settings["predict"] = {"method": method} | SETTINGS.get(method, {})
        for file in FILES:
            (run / file).unlink()
    (run / "config.json").write_text(json.dumps(settings))


def read_again(path):
    """What the search would go by."""
    run = RunDirectory(path)
    return read_models(open_job(run, read_config(path)))["latency_ms"]


@pytest.mark.parametrize("method", sorted(set(PREDICTORS) - {"mlp"}))
def test_each_predictor_is_fitted_by_its_name_and_read_again(cli, run_copy, method):
    with_method(run_copy, method)
    assert cli("predict", run_copy)[0] == 0
    rows = read_predictions(RunDirectory(run_copy))
    genomes = jnp.asarray(np.array([row.genome for row in rows]))
    said = jax.jit(lambda model: model(genomes))(read_again(run_copy))
    np.testing.assert_allclose(said, [row.predicted_ms for row in rows], rtol=1e-5)
    assert all(row.low_ms <= row.predicted_ms <= row.high_ms for row in rows)


def test_a_run_from_before_predictors_had_names_is_of_the_mlp(cli, run_copy):
    expected = read_again(run_copy)
    with_method(run_copy, None)
    found = read_again(run_copy)
    assert isinstance(found, mlp.Fitted)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert cli("predict", run_copy)[0] == 0  # there is nothing to do


MINE = """
import numpy as np
from jaxnas.config import PREDICTORS


class Model:
    arrays = dict

    def __call__(self, genomes):
        return np.asarray(genomes).sum(axis=1) + 1.0


class Mine:
    def fit(self, key, space, genomes, latency_ms, validation=None):
        return Model()

    def from_arrays(self, space, arrays):
        return Model()


def host(settings):
    return Mine()
"""


def test_a_model_that_no_compiled_search_can_call_is_refused_at_once(cli, run_copy, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    with_method(run_copy, f"{tmp_path}/mine.py:host")
    code, (line,) = cli("predict", run_copy)
    assert code == 2 and "must fit a pytree of arrays" in line and "got Model" in line
    assert not any((run_copy / file).exists() for file in FILES)


def test_a_file_of_another_predictor_is_refused(cli, run_copy):
    file = (run_copy / "predictor.npz").read_bytes()
    with_method(run_copy, "trees")
    (run_copy / "predictor.npz").write_bytes(file)
    (run_copy / "random.npz").unlink()
    code, (line,) = cli("search", run_copy)
    assert code == 2 and "corrupt" in line and "of another predict.method" in line
