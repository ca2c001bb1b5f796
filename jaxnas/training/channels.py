"""Channels of the blocks in order of importance.

So a smaller expand ratio keeps the important ones.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.supernets.supernet import Params

OUTSIDE = ("first_conv", "last_conv", "classifier")  # parts without middle channels
PARTS = ("expand", "depthwise", "squeeze_excite", "project", "shortcut")  # of a block


def sort_channels(params: Params, ops: Sequence[Op] = ()) -> Params:
    """The supernet with channels by falling importance.

    Every block's middle channels, and those of its squeeze; OFA sorts before expand phases.

    Importance is the L1 norm of a channel's weights in the 1x1 convolution that follows. The
    largest network stays the same function, and so does the network of `ops`, if given: its
    channels come first, sorted among themselves. Blocks without an expansion are left alone, for
    their middle channels are the output of the block before.

    Raises:
        UserError: see `check_sortable`.
    """
    check_sortable(params)
    widths = {op.path: op.c_out for op in ops}
    found = dict(params)
    for stage, blocks in params.items():
        if stage.startswith("mb"):
            found[stage] = {
                name: _sorted_block(block, f"{stage}/{name}", widths)
                if "expand" in block
                else block
                for name, block in blocks.items()
            }
    return found


def check_sortable(params: Params) -> None:
    """Refuses a supernet with a part that cannot be sorted.

    Its channels are not known to follow those of its neighbours.
    """
    stages = {name: part for name, part in params.items() if name not in OUTSIDE}
    for stage, blocks in stages.items():
        unknown = [] if stage.startswith("mb") else [stage]
        unknown += [
            f"{stage}/{name}/{part}"
            for name, block in blocks.items()
            for part in block
            if part not in PARTS
        ]
        if unknown:
            raise UserError(
                f"channels are sorted in stages mb1, mb2, ... of blocks with {', '.join(PARTS)}, "
                f"got a part {unknown[0]}: choose a train.method other than ofa"
            )


def _sorted_block(block: Params, path: str, widths: dict[str, int]) -> Params:
    order = _order(block["project"]["kernel"], widths.get(f"{path}/expand"))
    found = dict(block)
    found["expand"] = {name: array[..., order] for name, array in block["expand"].items()}
    if "depthwise" in block:
        arrays = block["depthwise"].items()
        found["depthwise"] = {
            name: array if name.startswith("transform") else array[..., order]
            for name, array in arrays
        }
    found["project"] = block["project"] | {"kernel": block["project"]["kernel"][:, :, order]}
    if "squeeze_excite" in block:
        squeeze = block["squeeze_excite"]["squeeze"]
        excite = block["squeeze_excite"]["excite"]
        inner = _order(excite["kernel"], widths.get(f"{path}/squeeze_excite/squeeze"))
        found["squeeze_excite"] = {
            "squeeze": {
                "kernel": squeeze["kernel"][:, :, order][..., inner],
                "bias": squeeze["bias"][inner],
            },
            "excite": {
                "kernel": excite["kernel"][..., order][:, :, inner],
                "bias": excite["bias"][order],
            },
        }
    return found


def _order(
    following: Float[Array, "1 1 channels c_out"], first: int | None
) -> Int[Array, "channels"]:
    """Channels by falling L1 norm of their weights in the following kernel.

    Those below `first`, if given, before the others.
    """
    importance = jnp.sum(jnp.abs(following), (0, 1, 3))
    late = jnp.arange(len(importance)) >= (len(importance) if first is None else first)
    return jnp.lexsort((-importance, late))
