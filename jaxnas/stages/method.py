"""The method by which a run trains its supernet."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from jaxnas.config import Config, PredictConfig, make_device, make_method, make_predictor
from jaxnas.objectives.expected import COSTS, Cost, make_cost, predicted_cost
from jaxnas.predictors.predictor import Model
from jaxnas.records.predictor import read_predictor
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.spaces.space import Space
from jaxnas.training.enas import Enas
from jaxnas.training.method import Method, TrainConfig
from jaxnas.training.pareto_rank import ParetoRank
from jaxnas.training.relaxed import Relaxed


def method_of(config: Config) -> Method:
    """The method that the settings name; one that pays for a cost knows it by the run's device.

    A cost may be the latency that another run has learnt to predict.
    """
    method = make_method(config.train)
    if not isinstance(method, Relaxed | Enas | ParetoRank):
        return method
    name = _cost_of(config.train, method)
    if not name:
        return method
    device = make_device(config.profile)

    @cache
    def cost(space: Space) -> Cost:
        if name not in COSTS and Path(name).is_dir():
            return predicted_cost(space, _predictor_of(name, space))
        return make_cost(name, space, device, {})

    return replace(method, cost=cost)


def _cost_of(settings: TrainConfig, method: Relaxed | Enas | ParetoRank) -> str:
    """The name of what a method pays for."""
    if isinstance(method, Relaxed):
        return settings.relaxed.cost
    return settings.enas.cost if isinstance(method, Enas) else settings.pareto.cost


def _predictor_of(folder: str, space: Space) -> Model:
    """What a run in the same space has fitted; a `UserError` where it has not."""
    run = RunDirectory(folder)
    with reading(run, "config.json"):
        settings = PredictConfig(**run.read_json("config.json")["predict"])
    return read_predictor(run, space, make_predictor(settings))
