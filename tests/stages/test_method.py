"""The cost that a search by gradient pays, where another run has learnt to predict it."""

import jax
import numpy as np
import pytest

from jaxnas.config import Config, ProfileConfig
from jaxnas.errors import UserError
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.single import Single
from jaxnas.records.predictor import write_predictor
from jaxnas.records.run_directory import RunDirectory
from jaxnas.relaxations.settings import RelaxedConfig
from jaxnas.spaces.meta_kernel import meta_kernel
from jaxnas.spaces.soft import softened
from jaxnas.stages.method import method_of
from jaxnas.training.enas import Enas
from jaxnas.training.enas_settings import EnasConfig
from jaxnas.training.method import TrainConfig
from jaxnas.training.relaxed import Relaxed


def paying(cost):
    """The cost of a run that trains so, as a function of the space."""
    relaxed = RelaxedConfig(cost=str(cost), cost_weights=(1.0,))
    method = method_of(Config("", train=TrainConfig("relaxed", relaxed=relaxed)))
    assert isinstance(method, Relaxed) and method.cost is not None
    return method.cost


@pytest.fixture
def predicted(tmp_path):
    """A space, and what a run in it has fitted to the networks' MACs."""
    space = meta_kernel(16, 1, 4)
    genomes = np.asarray(space.sample(jax.random.key(0), 40))
    macs = np.asarray(space.costs(genomes).macs, np.float32)
    model = Single(Lookup()).fit(jax.random.key(0), space, genomes, macs / 1e6)
    with RunDirectory(tmp_path / "run") as run:
        run.write_json("config.json", {"predict": {"method": "lookup"}})
        write_predictor(run, model)
    return space, model


def test_a_run_may_name_another_whose_predictor_knows_the_device(predicted, tmp_path):
    space, model = predicted
    genomes = np.asarray(space.sample(jax.random.key(1), 5))
    cost = jax.vmap(paying(tmp_path / "run")(space))
    np.testing.assert_allclose(cost(softened(space, genomes)), model(genomes), rtol=1e-6)


def test_what_says_no_latency_is_refused(predicted, tmp_path):
    space, _ = predicted
    other = meta_kernel(16, 1, 4).smaller
    assert other is not None
    with pytest.raises(UserError, match="of another space than meta_kernel"):
        paying(tmp_path / "run")(other())
    with pytest.raises(UserError, match="onnxruntime measures networks"):
        paying("latency_ms")(space)
    with pytest.raises(UserError, match=r"config\.json"):
        paying(tmp_path)(space)


def test_a_controller_pays_for_a_cost_as_its_second_objective():
    enas = EnasConfig("reinforce:target=2", cost="mmacs")
    profile = ProfileConfig("raptor_small")
    method = method_of(Config("", profile=profile, train=TrainConfig("enas", enas=enas)))
    assert isinstance(method, Enas) and method.cost is not None
    assert method.controller.objectives == 2 and method.controller.reward.target == (2.0,)
    space = meta_kernel(16, 1, 4)
    (soft,) = softened(space, space.largest[None])
    macs = float(space.costs(space.largest).macs)
    assert float(method.cost(space)(soft)) == pytest.approx(macs / 1e6, rel=1e-5)


def test_a_target_without_a_cost_is_refused():
    with pytest.raises(UserError, match="of which there are 0, got 1: leave it away"):
        method_of(Config("", train=TrainConfig("enas", enas=EnasConfig("reinforce:target=2"))))
