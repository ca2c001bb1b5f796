"""Settings of ENAS."""

from dataclasses import dataclass

from jaxnas.plugins import Name, named


@dataclass(frozen=True)
class EnasConfig:
    """How a training of the method `enas` learns which networks are best."""

    controller: Name = "reinforce"
    """reinforce or ppo; settings of its own follow its name: ppo:epochs=3, reinforce:target=20."""
    samples: int = 10
    """Networks that the controller draws for a step of its own, at least 2."""
    every: int = 10
    """Steps of the weights between two of the controller."""
    held_out: float = 0.5
    """Share of the training images on which networks are rewarded, and no weight is trained."""
    weights_first: float = 0.2
    """Share of the steps in which the weights alone are trained."""
    cost: Name = ""
    """What is traded for accuracy as MnasNet does, with the controller's target and exponent; none
    by default. mmacs, mparams; latency_ms or energy_uj of a modelled device; or the directory of a
    run in the same space, for the latency that it has learnt to predict."""

    def __post_init__(self):
        object.__setattr__(self, "controller", named(self.controller))
        object.__setattr__(self, "cost", named(self.cost))
