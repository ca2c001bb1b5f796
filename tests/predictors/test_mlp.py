import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.predictors import mlp
from jaxnas.predictors.metrics import pearson, within
from jaxnas.predictors.mlp import EarlyStoppedMLP, Fitted
from jaxnas.profiling.active_profile import covering_sample, uniform_sample
from jaxnas.spaces.encodings import gene_values

predict = jax.jit(mlp.predict)


@pytest.fixture(scope="module")
def data(space, latency_ms):
    """Train 200 (covering), validation 50 and test 500 (uniform); the first two with 2 % noise."""
    keys = jax.random.split(jax.random.key(0), 3)
    train = covering_sample(keys[0], space, 200)
    validation = uniform_sample(keys[1], space, 50, exclude=train)
    test = uniform_sample(keys[2], space, 500, exclude=jnp.concatenate([train, validation]))
    measured = latency_ms(train, 0.02), latency_ms(validation, 0.02), latency_ms(test)
    return [gene_values(space, genomes) for genomes in (train, validation, test)], measured


def fit(data, seed=0, **settings):
    (train, validation, _), (train_ms, validation_ms, _) = data
    return mlp.fit(jax.random.key(seed), train, train_ms, validation, validation_ms, **settings)


@pytest.fixture(scope="module")
def model(data):
    return fit(data)


def test_a_new_subnet_is_predicted_well(data, model):
    (_, _, test), (_, _, test_ms) = data
    predicted = predict(model, test)
    assert predicted.dtype == jnp.float32
    assert pearson(test_ms, predicted) > 0.97
    assert within(test_ms, predicted) > 0.99
    assert pearson(test_ms, np.roll(predicted, 1)) < 0.5  # the comparison bites


def test_both_corners_are_predicted_well(space, latency_ms, model):
    corners = jnp.stack([space.smallest, space.largest])
    np.testing.assert_allclose(
        predict(model, gene_values(space, corners)), latency_ms(corners), rtol=0.1
    )


def test_equal_keys_give_equal_models(data):
    one, again, other = (fit(data, seed, steps=200) for seed in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, again))
    assert not np.array_equal(one.w0, other.w0)


def test_the_best_step_is_kept(data):
    """Without weight decay the training points are learned by heart.

    The last step is not the best on the validation points.
    """
    (train, validation, _), (train_ms, validation_ms, _) = data

    def loss(model):
        return float(np.mean((np.log(predict(model, validation)) - np.log(validation_ms)) ** 2))

    blind = mlp.fit(
        jax.random.key(0),
        train,
        train_ms,
        train[:50],
        train_ms[:50],
        learning_rate=0.02,
        weight_decay=0.0,
    )
    assert loss(fit(data, learning_rate=0.02, weight_decay=0.0)) < 0.9 * loss(blind)


def test_latency_has_no_unit_of_its_own(data):
    """Log latency is standardised: microseconds in, microseconds out."""
    features, measured = data
    model = fit(data, steps=200)
    thousandfold = fit((features, [1000 * ms for ms in measured]), steps=200)
    expected = 1000 * predict(model, features[2])
    np.testing.assert_allclose(predict(thousandfold, features[2]), expected, rtol=0.02)


def test_prediction_vmaps(data, model):
    (_, _, test), _ = data
    groups = test.reshape(10, 50, -1)
    np.testing.assert_allclose(
        jax.vmap(predict, (None, 0))(model, groups).ravel(), predict(model, test), rtol=1e-5
    )


def test_the_file_is_that_of_older_runs(space, model):
    """Float32 arrays of these names, with nothing beside them."""
    arrays = Fitted(space, model).arrays()
    layers = {f"{kind}{layer}" for kind in "wb" for layer in range(3)}
    scales = {f"{side}_{kind}" for side in ("input", "target") for kind in ("mean", "deviation")}
    assert arrays.keys() == layers | scales
    assert {str(array.dtype) for array in arrays.values()} == {"float32"}


def test_validation_networks_choose_the_step(space, data):
    """As a predictor it does what `fit` does."""
    keys = jax.random.split(jax.random.key(0), 3)
    train = np.asarray(covering_sample(keys[0], space, 200))
    genomes = np.concatenate([train, np.asarray(uniform_sample(keys[1], space, 50, train))])
    measured = np.concatenate(data[1][:2])
    marks = np.arange(250) >= 200
    predictor = EarlyStoppedMLP(steps=200)
    fitted = predictor.fit(jax.random.key(0), space, genomes, measured, marks)
    expected = fit(data, steps=200)
    assert jax.tree.all(jax.tree.map(np.array_equal, fitted.perceptrons, expected))
    with pytest.raises(UserError, match="validation measurements, got none"):
        predictor.fit(jax.random.key(0), space, genomes, measured)


def test_equal_latencies_are_no_reason_to_fail(data):
    equal = np.full(200, 3.0), np.full(50, 3.0), None
    np.testing.assert_allclose(predict(fit((data[0], equal), steps=200), data[0][2]), 3.0, rtol=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("split", [0, 1])
def test_latencies_that_are_none(data, bad, split):
    features, measured = data
    latencies = [np.array(part) for part in measured]
    latencies[split][3] = bad
    with pytest.raises(UserError, match=("training", "validation")[split]):
        fit((features, latencies))


def test_no_validation_points(data):
    (train, validation, _), (train_ms, validation_ms, _) = data
    with pytest.raises(UserError, match="validation measurements, got none"):
        mlp.fit(jax.random.key(0), train, train_ms, validation[:0], validation_ms[:0])
