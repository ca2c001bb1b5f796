import jax
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import pearson
from jaxnas.predictors.trees import Trees, _below
from jaxnas.profiling.active_profile import uniform_sample
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.space import Space

SPACE = Space("toy", tuple(Gene(f"g{i}", (8, 16, 24)) for i in range(6)))


def test_trees_see_what_genes_do_together():
    """Two genes of the same choice are slow: nothing that tables of single genes could say."""
    genomes = np.asarray(uniform_sample(jax.random.key(0), SPACE, 600, np.zeros((0, 6), np.int32)))
    ms = np.where(genomes[:, 0] == genomes[:, 1], 3.0, 1.0).astype(np.float32) + 0.1 * genomes[:, 2]
    used = np.ones((1, 400), bool)
    models = [
        method.fit(jax.random.key(0), SPACE, genomes[:400], ms[:400], used)
        for method in (Trees(), Lookup())
    ]
    trees, tables = (np.asarray(model.predict(genomes[400:]))[0] for model in models)
    assert pearson(ms[400:], trees) > 0.98
    assert pearson(ms[400:], tables) < 0.5


@pytest.mark.parametrize("depth", [1, 3])
def test_arrays_say_what_scikit_learns_trees_say(monkeypatch, depth):
    fitted = []
    real = GradientBoostingRegressor.fit

    def fit(forest, *data):
        fitted.append(forest)
        return real(forest, *data)

    monkeypatch.setattr(GradientBoostingRegressor, "fit", fit)
    draw = np.random.default_rng(0)
    genomes = np.asarray(uniform_sample(jax.random.key(0), SPACE, 400, np.zeros((0, 6), np.int32)))
    ms = np.exp(draw.normal(size=60)).astype(np.float32)
    used = draw.random((2, 60)) < 0.8
    method = Trees(trees=20, depth=depth, learning_rate=0.3)
    model = method.fit(jax.random.key(0), SPACE, genomes[:60], ms, used)
    features = np.asarray(method.features(SPACE, genomes))
    expected = np.exp([forest.predict(features) for forest in fitted])
    assert expected.shape == (2, 400) and expected.std(axis=1).min() > 0.1
    np.testing.assert_allclose(model.predict(genomes), expected, rtol=1e-5)


def test_thresholds_part_float32_as_float64_does():
    low = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    high = np.nextafter(low, np.float32(np.inf))
    threshold = low / 2 + high.astype(np.float64) / 2
    assert (threshold.astype(np.float32) == high).any()  # rounded, some would part nothing
    rounded = _below(threshold)
    assert rounded.dtype == np.float32 and (low <= rounded).all() and (rounded < high).all()
