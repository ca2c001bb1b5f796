"""Settings of search by gradient."""

from dataclasses import dataclass

from jaxnas.plugins import Name, named


@dataclass(frozen=True)
class RelaxedConfig:
    """How a training of the method `relaxed` learns which networks are best."""

    relaxation: Name = "gumbel"
    """softmax (DARTS), gumbel (FBNet), sampled (GDAS), binary_paths (ProxylessNAS), or
    straight_through; settings of its own follow its name. Those by default are of published
    trainings of 25 to 250 epochs; much shorter ones decide nothing under their weight decay and
    first temperature: sampled:first=1:weight_decay=0."""
    order: int = 1
    """2: the loss after one more step of the weights, differentiated through that step (DARTS); 1:
    with the weights as they are."""
    held_out: float = 0.5
    """Share of the training images on which the architecture is trained, and no weight."""
    weights_first: float = 0.2
    """Share of the steps in which the weights alone are trained."""
    zeros: bool = False
    """Whether operations that give zero are searched, where there are others. With them the search
    empties cells: a zero adds no noise to a sum, while the others' weights are not trained, and its
    logit has no gradient of its own. DARTS (section 2.4) leaves them out of what it derives."""
    learning_rate: float = 0.003
    """Of Adam, for the architecture."""
    cost: Name = ""
    """What is paid for beside the loss; none by default. mmacs, mparams; latency_ms or energy_uj of
    a modelled device; the directory of a run in the same space, for the latency that it has learnt
    to predict; or your own, file.py:name, a function of the space, the device and predictors."""
    cost_weights: tuple[float, ...] = (0.0,)
    """The loss is cross-entropy + weight * cost, the cost in its own unit. Each weight has an
    architecture of its own; they share the supernet, take turns step by step, and leave a network
    each."""
    cost_targets: tuple[float, ...] = ()
    """In place of weights: the loss is cross-entropy * (cost / target)^cost_exponent; each target
    has an architecture of its own."""
    cost_exponent: float = 0.6
    """FBNet's."""

    def __post_init__(self):
        object.__setattr__(self, "relaxation", named(self.relaxation))
        object.__setattr__(self, "cost", named(self.cost))

    @property
    def architectures(self) -> int:
        """How many are learnt."""
        return len(self.cost_targets or self.cost_weights)
