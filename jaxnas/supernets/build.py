"""The supernet of a space: everything that its parts say."""

from functools import partial

from jaxnas.spaces.space import Space
from jaxnas.supernets.initial import build_init
from jaxnas.supernets.interpreter import build_apply
from jaxnas.supernets.simulated import build_simulated
from jaxnas.supernets.supernet import Supernet
from jaxnas.supernets.switched import build_switched
from jaxnas.supernets.switched_training import build_switched_training


def build(space: Space) -> Supernet:
    """The supernet of any space with parts."""
    return Supernet(
        space,
        build_init(space),
        build_apply(space),
        space.ops,
        build_switched(space),
        partial(build_simulated, space),
        build_switched_training(space),
    )
