"""The method by which a run trains its supernet."""

from dataclasses import replace
from functools import cache

from jaxnas.config import Config, make_device, make_method
from jaxnas.objectives.expected import Cost, make_cost
from jaxnas.spaces.space import Space
from jaxnas.training.method import Method
from jaxnas.training.relaxed import Relaxed


def method_of(config: Config) -> Method:
    """The method that the settings name; one that pays for a cost knows it by the run's device."""
    method = make_method(config.train)
    name = config.train.relaxed.cost
    if not (name and isinstance(method, Relaxed)):
        return method
    device = make_device(config.profile)

    @cache
    def cost(space: Space) -> Cost:
        return make_cost(name, space, device, {})

    return replace(method, cost=cost)
