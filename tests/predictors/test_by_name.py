"""What every predictor that has a name owes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.config import PREDICTORS, PredictConfig, make_predictor
from jaxnas.errors import UserError
from jaxnas.predictors.ensemble import Ensemble
from jaxnas.predictors.intervals import with_intervals
from jaxnas.predictors.metrics import coverage, pearson
from jaxnas.predictors.predictor import IntervalModel, Model, Predictor
from jaxnas.profiling.active_profile import covering_sample, uniform_sample
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.nasbench201 import cell_space
from jaxnas.spaces.nasbench201_network import NasBench201
from jaxnas.spaces.published import tiny
from jaxnas.spaces.space import Space

SPACE = Space("small", tuple(Gene(f"g{i}", (8, 16, 24, 32)[: 2 + i % 3]) for i in range(8)))
OTHER = Space("other", SPACE.genes[:5])
CELLS = cell_space("small", NasBench201(1, 1, 4, 4))
# Networks over layers want spaces that have some: their own, and another.
SPACES = {"lstm_gcn_af": (CELLS, replace(tiny(32, 3, 10), name="other"))}
TRAIN = 56
STEPS = {"lstm_gcn_af": 200}
MEASURED = 80  # train and validation


@pytest.fixture(scope="module", params=PREDICTORS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def spaces(name):
    return SPACES.get(name, (SPACE, OTHER))


@pytest.fixture(scope="module")
def data(spaces):
    """Train (covering), validation and 100 fresh ones (uniform); a sum of squares, 2 % noise."""
    space, _ = spaces
    keys = jax.random.split(jax.random.key(0), 2)
    train = np.asarray(covering_sample(keys[0], space, TRAIN))
    rest = np.asarray(uniform_sample(keys[1], space, 124, exclude=train))
    genomes = np.concatenate([train, rest])
    price = 5e-2 if space is CELLS else 1e-3
    ms = 0.5 + price * (np.asarray(space.values(genomes)) ** 2).sum(axis=1)
    return genomes, (ms * np.random.default_rng(0).normal(1, 0.02, len(ms))).astype(np.float32)


@pytest.fixture(scope="module")
def predictor(name) -> Predictor:
    return make_predictor(PredictConfig(name, steps=STEPS.get(name, 500)))


@pytest.fixture(scope="module")
def model(predictor, spaces, data) -> Model:
    genomes, ms = (part[:MEASURED] for part in data)
    return predictor.fit(jax.random.key(1), spaces[0], genomes, ms, np.arange(MEASURED) >= TRAIN)


@pytest.fixture
def fresh(data):
    return tuple(part[MEASURED:] for part in data)


@pytest.fixture
def validation(data):
    return tuple(part[TRAIN:MEASURED] for part in data)


def test_it_is_what_it_says(predictor, model):
    assert isinstance(predictor, Predictor) and isinstance(model, Model)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(model))


def test_fresh_networks_are_predicted_and_lie_in_their_intervals(model, validation, fresh):
    genomes, ms = fresh
    mean, low, high = with_intervals(model, *validation)(genomes)
    np.testing.assert_allclose(mean, model(genomes), rtol=1e-5)
    assert pearson(ms, mean) > 0.9 > abs(pearson(ms, np.roll(mean, 1)))
    assert (low > 0).all() and (low <= mean).all() and (mean <= high).all()
    assert coverage(ms, low, high) > 0.7 and (high < 2 * mean).all()


def test_intervals_are_its_own_or_those_of_the_validation_networks(model, validation, fresh):
    genomes, ms = validation
    own, doubled = (
        with_intervals(model, genomes, factor * ms)(fresh[0]).high_ms for factor in (1, 2)
    )
    assert np.array_equal(own, doubled) == isinstance(model, IntervalModel)
    assert (doubled > 1.5 * own).all() != isinstance(model, IntervalModel)


def test_a_search_may_compile_it(model, fresh):
    genomes = jnp.asarray(fresh[0])
    expected = model(genomes)
    compiled = jax.jit(lambda model, genomes: jax.vmap(model)(genomes.reshape(4, 25, -1)))
    np.testing.assert_allclose(compiled(model, genomes).ravel(), expected, rtol=1e-5)


def test_it_is_read_as_it_was_saved(predictor, spaces, model, fresh, tmp_path):
    np.savez(tmp_path / "model.npz", allow_pickle=False, **model.arrays())
    with np.load(tmp_path / "model.npz", allow_pickle=False) as arrays:
        again = predictor.from_arrays(spaces[0], dict(arrays))
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for one, other in zip(*map(jax.tree.leaves, (again, model)), strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    np.testing.assert_array_equal(again(fresh[0]), model(fresh[0]))


def test_what_is_no_model_of_it_is_refused(predictor, spaces, model):
    arrays = {name: np.asarray(array) for name, array in model.arrays().items()}
    for name, array in arrays.items():
        missing = {other: one for other, one in arrays.items() if other != name}
        longer = np.append(array, array).reshape(2, *array.shape)
        for wrong in (missing, missing | {name: longer}, missing | {name: _spoilt(array)}):
            with pytest.raises(ValueError, match=name.removeprefix("members.")):
                predictor.from_arrays(spaces[0], wrong)
    with pytest.raises(ValueError, match=r"of another space than other|no genome of other"):
        predictor.from_arrays(spaces[1], arrays)


def _spoilt(array: np.ndarray) -> np.ndarray:
    return np.full_like(array, np.nan) if array.dtype.kind == "f" else array - 99


def test_genomes_of_another_space_are_refused(model, spaces):
    own, other = (len(space.genes) for space in spaces)
    with pytest.raises(
        UserError, match=rf"fitted to small sees genomes of {own} genes, got .* \(3, {other}\)"
    ):
        model(np.zeros((3, other), np.int32))


def test_choices_of_another_space_are_refused(model, spaces):
    """Of as many genes. JAX would read what stands at the nearest choice."""
    genomes = np.full((3, len(spaces[0].genes)), 9, np.int32)
    for asked in (model, model.predict) if isinstance(model, IntervalModel) else (model,):
        with pytest.raises(UserError, match="fitted to small sees choices below"):
            asked(genomes)


def test_what_no_predictor_learns_from(predictor, spaces, data):
    """Each before anything is compiled."""
    genomes, ms = (part[:MEASURED] for part in data)
    validation = np.arange(MEASURED) >= TRAIN
    failed = np.where(np.arange(MEASURED) == 3, np.nan, ms)
    others = np.asarray(spaces[1].sample(jax.random.key(0), MEASURED))
    for wrong, message in (
        ((genomes[:0], ms[:0], validation[:0]), "needs training measurements, got none|got 0: me"),
        ((genomes[:1], ms[:1], validation[:1]), "learns from 2 .*networks or more, got 1: measure"),
        ((genomes, np.full_like(ms, 2), validation), "there is nothing to learn"),
        ((genomes, failed, validation), r"must be finite and above 0.*, got nan \(1 such\)"),
        ((genomes, np.full_like(ms, np.nan), validation), r"must be finite .* \(80 such\)"),
        ((others, ms, validation), r"fitted to small sees genomes of \d+ genes, got an array"),
    ):
        with pytest.raises(UserError, match=message) as found:
            predictor.fit(jax.random.key(0), spaces[0], *wrong)
        assert "\n" not in str(found.value)


def test_no_network_but_those_for_validation(predictor, spaces, data):
    """An ensemble learns from them too."""
    genomes, ms = (part[:4] for part in data)
    if isinstance(predictor, Ensemble):
        return
    with pytest.raises(UserError, match="from 2 networks or more, got 0: measure more"):
        predictor.fit(jax.random.key(0), spaces[0], genomes, ms, np.ones(4, bool))


def test_a_space_without_layers_is_refused():
    predictor = make_predictor(PredictConfig("lstm_gcn_af", steps=1))
    genomes = np.asarray(SPACE.sample(jax.random.key(0), 4))
    with pytest.raises(UserError, match="small has no parts"):
        predictor.fit(jax.random.key(0), SPACE, genomes, np.arange(1.0, 5), None)


def test_a_name_that_nobody_knows():
    known = ", ".join(sorted(PREDICTORS))
    with pytest.raises(UserError, match=f"unknown predictor 'gp'; known: {known}, and your own"):
        make_predictor(PredictConfig("gp"))


def nothing(settings):
    return None


def test_what_is_no_predictor_is_refused():
    with pytest.raises(UserError, match="must return a predictor with fit and from_arrays"):
        make_predictor(PredictConfig(nothing))
