"""Settings of the training that keeps Pareto ranks."""

from dataclasses import dataclass

from jaxnas.plugins import Name, named


@dataclass(frozen=True)
class ParetoConfig:
    """How a training of the method `pareto_rank` orders subnets by their Pareto rank."""

    cost: Name = "mmacs"
    """What is traded for accuracy. mmacs, mparams; latency_ms or energy_uj of a modelled device;
    the directory of a run in the same space, for the latency that it has learnt to predict; or your
    own, file.py:name, a function of the space, the device and predictors."""
    fair_first: float = 0.5
    """Share of the steps in which strict fairness alone trains (fairnas)."""
    group: int = 5
    """Subnets that a step trains after these, and puts in order, at least 2."""
    members: int = 64
    """Subnets from which these are drawn, and among which they have their ranks."""
    renew_every: int = 20
    """Steps after which the member of the last rank makes room for a random subnet."""
    weight: float = 0.5
    """Of the loss of the order, beside the cross-entropy. At 0 the members are trained alike."""
    loss: str = "list_mle"
    """Of the order: list_mle or hinge; equal ranks have no order."""
    temperature: float = 0.1
    """Nats of cross-entropy by which two subnets differ clearly."""
    held_out: float = 0.1
    """Share of the training images on which subnets are ranked, and no weight is trained."""

    def __post_init__(self):
        object.__setattr__(self, "cost", named(self.cost))
