"""The published boosters against what XGBoost 2.1.4 said, and files that are none."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors.boosters import NAMES, load

SHARED = Path(__file__).parents[3] / "shared" / "data" / "analog_nas_surrogates"
BOOSTERS = ("xgboost_avm", "xgboost_std", "xgboost_ranker_acc")
# x0 < 2 ? 1 : (x1 < 5 ? 10 : 20); and a tree of one leaf. Missing x0 leads to the right.
SMALL = {
    "left": np.array([1, -1, 3, -1, -1, -1], np.int32),
    "right": np.array([2, -1, 4, -1, -1, -1], np.int32),
    "feature": np.array([0, -1, 1, -1, -1, -1], np.int16),
    "threshold": np.array([2, 0, 5, 0, 0, 0], np.float32),
    "value": np.array([0, 1, 0, 10, 20, 100], np.float32),
    "default_left": np.array([0, 0, 1, 0, 0, 0], np.uint8),
    "offsets": np.array([0, 5, 6]),
    "base_score": np.float32(0.5),
}


def written(tmp_path, **change):
    path = tmp_path / "trees.npz"
    np.savez(path, **(SMALL | change))
    return path


def test_trees_by_hand(tmp_path):
    nan = np.nan
    x = np.array([[1, 9], [2, 4], [2, 5], [nan, 4], [nan, nan], [1, nan]], np.float32)
    found = load(written(tmp_path), 2)(x)
    np.testing.assert_allclose(found, np.array([1, 10, 20, 10, 10, 1]) + 100.5)


@pytest.mark.skipif(not SHARED.exists(), reason=f"needs {SHARED.name} of the shared data")
@pytest.mark.parametrize("name", BOOSTERS)
def test_predictions_are_those_of_xgboost(name):
    """On 2,000 architectures and on 100 with missing values; a threshold off is seen."""
    with np.load(SHARED / "test_vectors.npz") as vectors:
        booster = load(SHARED / f"{name}_trees.npz", vectors["inputs"].shape[1])
        predict = jax.jit(lambda booster, x: booster(x))
        for inputs, outputs in (("inputs", name), ("inputs_nan", f"{name}_nan")):
            found = predict(booster, jnp.asarray(vectors[inputs]))
            np.testing.assert_allclose(found, vectors[outputs], rtol=1e-5, atol=1e-5)
        above = replace(booster, threshold=jnp.nextafter(booster.threshold, jnp.float32(np.inf)))
        wrong = np.abs(predict(above, jnp.asarray(vectors["inputs"])) - vectors[name])
        assert (wrong > 1e-4).mean() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": np.array([0, -1, 3, -1, -1, -1])}, "a tree asks more than 10 questions"),
        ({"left": np.array([7, -1, 3, -1, -1, -1])}, "has no trees of a booster: index 7"),
        ({"feature": np.array([2, -1, 1, -1, -1, -1])}, "asks for a feature that is none of 2"),
    ],
)
def test_arrays_that_are_no_trees_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        load(written(tmp_path, **change), 2)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"gone.npz: no such booster"):
        load(tmp_path / "gone.npz", 2)
    path = tmp_path / "other.npz"
    np.savez(path, left=np.zeros(3))
    with pytest.raises(UserError, match=rf"has no array 'right' .* it needs {NAMES[0]}, right"):
        load(path, 2)
