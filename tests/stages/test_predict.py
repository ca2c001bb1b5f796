"""What the stage says of a predictor, good, weak and diverged."""

import pytest

from jaxnas.predictors import mlp
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.predict import LEAST_PEARSON


@pytest.fixture
def predicted(cli, run_copy, monkeypatch):
    """Fits the predictor of a finished run again, changed.

    The exit code, what was said, and the run.
    """
    real = mlp.fit

    def again(change):
        for file in ("predictor.npz", "predictions.csv", "predictor.json"):
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
