"""Published PyTorch weights as a supernet's parameters.

Those of AttentiveNAS and AlphaNet, and of Once-for-All's MobileNetV3. Both families name their
tensors alike but for wrappers (`conv.conv`, `bn.bn`, `linear.linear`, `mobile_inverted_conv`,
`last_conv.`, a leading `module.`, `_orig_mod.` of torch.compile), which also differ between
releases and programs. Without the wrappers one table of names serves all.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.errors import UserError
from jaxnas.supernets.supernet import Params, Supernet, path_of
from jaxnas.weights import torch_files
from jaxnas.weights.torch_pickle import short

_MODULES = {
    "first_conv": "first_conv",
    "expand": "conv.inverted_bottleneck",
    "depthwise": "conv.depth_conv",
    "squeeze_excite/squeeze": "conv.depth_conv.se.fc.reduce",
    "squeeze_excite/excite": "conv.depth_conv.se.fc.expand",
    "project": "conv.point_linear",
    "shortcut": "shortcut",
    "last_conv/expand": "final_expand_layer",
    "last_conv/feature": "feature_mix_layer",
    "classifier": "classifier.linear",
}
_ARRAYS = {
    "kernel": ".conv.weight",
    "scale": ".bn.weight",
    "shift": ".bn.bias",
    "transform5": ".conv.7to5_matrix",
    "transform3": ".conv.5to3_matrix",
}
# Their tensors are `weight` and `bias`.
_BIASED = ("squeeze_excite/squeeze", "squeeze_excite/excite", "classifier")
_LEFT_OUT = ("running_mean", "running_var", "num_batches_tracked", "n_averaged")
_STEM = "first_conv.conv.weight"
_WRAPPERS = {
    "_orig_mod.": "",
    ".mobile_inverted_conv.": ".conv.",
    ".conv.conv.": ".conv.",
    ".bn.bn.": ".bn.",
    ".linear.linear.": ".linear.",
}


class Weights(NamedTuple):
    """Parameters as `Supernet.init` gives them, and whose they are."""

    params: Params
    family: str
    licence: str


class About(NamedTuple):
    """What a checkpoint says of itself."""

    family: str
    licence: str
    classes: int | None  # that its classifier tells apart; None where it has no classifier
    key: str  # of its state dict, "" where the file is one itself
    others: tuple[str, ...]  # keys that have one too, which is not read


def look(path: str | os.PathLike[str], net: Supernet) -> About:
    """What a checkpoint is, by its names and shapes alone.

    Refuses what `load` would refuse for them, but for its classifier.
    """
    state = torch_files.read_state(path, numbers=False)
    tensors, attentive = _named(path, state.arrays)
    _matched(path, net, tensors, attentive, own=True)
    bias = tensors.get("classifier.linear.bias")
    return About(*_whose(attentive), None if bias is None else bias.size, state.key, state.others)


def load(
    path: str | os.PathLike[str], net: Supernet, classifier: Mapping[str, Any] | None = None
) -> Weights:
    """A published checkpoint as parameters of `net`, float32; nothing in the file is executed.

    `classifier`, for another number of classes, takes the place of the checkpoint's own:
    `net.init(key)["classifier"]`.
    Batch norm's statistics are left out: they belong to a subnet and are recalibrated. A checkpoint
    that lacks an array of the space, has one of another shape or has one more is a `UserError` that
    names the first.
    """
    tensors, attentive = _named(path, torch_files.read(path))
    found = _matched(path, net, tensors, attentive, own=classifier is not None)

    def convert(keys, wanted):
        place = path_of(keys)
        if place not in found and classifier is not None:
            return _own(classifier, place.removeprefix("classifier/"), wanted.shape)
        return jnp.asarray(_ours(place, _finite(path, *found[place])), jnp.float32)

    params = jax.tree_util.tree_map_with_path(convert, jax.eval_shape(net.init, jax.random.key(0)))
    return Weights(params, *_whose(attentive))


def _whose(attentive: bool) -> tuple[str, str]:
    """Family and licence."""
    if attentive:
        return "AttentiveNAS / AlphaNet", "CC BY-NC 4.0, which forbids commercial use"
    return "Once-for-All", "MIT"


def notice(weights: Weights | About) -> str:
    """One line to print wherever published weights are used.

    >>> notice(Weights({}, "Once-for-All", "MIT"))
    'weights of Once-for-All; published under this licence: MIT'
    """
    return f"weights of {weights.family}; published under this licence: {weights.licence}"


def _named(path, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], bool]:
    """Tensors by their names without wrappers, less statistics.

    And whether they are AttentiveNAS's or AlphaNet's.
    """
    tensors = {}
    attentive = False
    before = ""
    unwrapped = {full: _unwrapped(full) for full in arrays}
    stems = [name for name in unwrapped.values() if name.endswith(f".{_STEM}")]
    # One network inside another module: `model.`.
    if len(stems) == 1 and _STEM not in unwrapped.values():
        before = stems[0].removesuffix(_STEM)
    for full, array in arrays.items():
        name = unwrapped[full].removeprefix(before)
        attentive |= name.startswith("last_conv.")
        name = name.removeprefix("last_conv.")
        if name in tensors:
            raise UserError(
                f"{path} is not a checkpoint of a known family: {short(full)} is there twice; "
                "choose another file"
            )
        if name.rsplit(".")[-1] not in _LEFT_OUT:
            tensors[name] = array
    if _STEM not in tensors:
        first = short(next(iter(arrays), ""))
        raise UserError(
            f"{path} is no checkpoint of AttentiveNAS, AlphaNet or Once-for-All: expected a tensor "
            f"{_STEM}, got {len(arrays)} others, the first of them {first}; name one of theirs"
        )
    return tensors, attentive


def _unwrapped(name: str) -> str:
    for wrapped, plain in _WRAPPERS.items():
        name = name.replace(wrapped, plain)
    return name.removeprefix("module.")


def _matched(
    path, net: Supernet, tensors: dict[str, np.ndarray], attentive: bool, own: bool
) -> dict[str, tuple[str, np.ndarray]]:
    """{path of an array: its name in PyTorch, and its tensor}, each of the space's shape.

    `own`: all but the classifier.
    """
    target = jax.eval_shape(net.init, jax.random.key(0))
    names = _torch_names(target)
    found = {}
    for place, wanted in _in_order(target):
        if not (own and place.startswith("classifier/")):
            found[place] = (
                names[place],
                _shaped(
                    path,
                    net,
                    names[place],
                    tensors.get(names[place]),
                    _torch_shape(place, wanted.shape),
                ),
            )
    # Has shortcut weights also in blocks that never change width, where they are not used.
    if attentive:
        tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if not name.endswith(".shortcut.conv.weight")
        }
    if more := sorted(tensors.keys() - names.values()):
        extra = short(more[0])
        raise UserError(
            f"{path} is a checkpoint of another space: {net.space.name} has no {extra}; choose the "
            "space it was trained in"
        )
    return found


def _in_order(target: Params) -> list[tuple[str, Any]]:
    """The arrays and their paths, block after block."""
    order = ["first_conv", *_blocks(target), "last_conv", "classifier"]
    leaves = [(path_of(keys), leaf) for keys, leaf in jax.tree_util.tree_leaves_with_path(target)]
    return [
        (place, leaf) for part in order for place, leaf in leaves if place.startswith(f"{part}/")
    ]


def _blocks(target: Params) -> list[str]:
    stages = sorted(
        (name for name in target if name.startswith("mb")), key=lambda name: int(name[2:])
    )
    return [f"{stage}/block{b}" for stage in stages for b in range(len(target[stage]))]


def _torch_names(target: Params) -> dict[str, str]:
    """{path of an array: its name in PyTorch}; there, blocks are numbered through all stages."""
    numbers = {block: i for i, block in enumerate(_blocks(target))}
    names = {}
    for place, _ in _in_order(target):
        module, array = place.rsplit("/", 1)
        block = "/".join(place.split("/")[:2])
        prefix = f"blocks.{numbers[block]}." if block in numbers else ""
        module = module.removeprefix(f"{block}/") if prefix else module
        names[place] = (
            prefix
            + _MODULES[module]
            + ({"kernel": ".weight", "bias": ".bias"} if module in _BIASED else _ARRAYS)[array]
        )
    return names


def _torch_shape(place: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """PyTorch's shape of one of our arrays."""
    if not place.endswith("/kernel"):
        return shape
    return shape[::-1] if len(shape) == 2 else (shape[3], shape[2], shape[0], shape[1])


def _ours(place: str, array: np.ndarray) -> np.ndarray:
    """(c_out, c_in, k, k) to (k, k, c_in, c_out).

    A classifier's (classes, c_in) to (c_in, classes).
    """
    if not place.endswith("/kernel"):
        return array
    return array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)


def _own(classifier: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Any:
    if np.shape(classifier[name]) != shape:
        raise UserError(
            f"`classifier` should have {name} of shape {shape}, got {np.shape(classifier[name])}; "
            "take it from the supernet's init"
        )
    return classifier[name]


def _shaped(
    path, net: Supernet, name: str, found: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray:
    if found is not None and found.shape == shape:
        return found
    there = "absent" if found is None else found.shape
    what = "another space"
    hint = "choose the space it was trained in"
    if name.startswith("classifier"):
        what = "other classes"
        hint = "give `classifier` to keep another"
    raise UserError(
        f"{path} is a checkpoint of {what}: {name} of {net.space.name} is {shape}, found {there}; "
        f"{hint}"
    )


def _finite(path, name: str, found: np.ndarray) -> np.ndarray:
    if (
        not jnp.issubdtype(found.dtype, jnp.floating)
        or not np.isfinite(found.astype(np.float32)).all()
    ):
        raise UserError(
            f"{path} is damaged: {name} should hold finite floating-point numbers, found "
            f"{found.dtype}; fetch it anew"
        )
    return found
