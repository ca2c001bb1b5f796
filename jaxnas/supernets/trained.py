"""A trained supernet as one file of plain arrays: what a run leaves as supernet.npz, and what comes with jaxnas."""

import json
import os
from dataclasses import MISSING, asdict, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.errors import UserError
from jaxnas.supernets.supernet import Params, Supernet, path_of

SHIPPED = files("jaxnas") / "supernets" / "shipped"
_OF_THE_DATA = ("resolutions", "classes")  # parts of a space's structure that may differ where the weights are used again


class Trained(NamedTuple):
    """Parameters as `Supernet.init` gives them, and the classes that their classifier tells apart."""

    params: Params
    class_names: tuple[str, ...]


def shipped() -> tuple[str, ...]:
    """Names of the supernets that come with jaxnas."""
    return tuple(sorted(entry.name.removesuffix(".npz") for entry in SHIPPED.iterdir() if entry.name.endswith(".npz")))


def to_arrays(net: Supernet, params: Params, class_names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The parameters by path, float32, the structure of their space, and the classes: arrays for an npz file."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {path_of(keys): np.asarray(leaf, np.float32) for keys, leaf in leaves}
    return arrays | {"structure": np.array(_structure(net)), "class_names": np.array(class_names)}


def load(name: str | os.PathLike[str], net: Supernet) -> Trained:
    """A file of `to_arrays`, or a supernet that comes with jaxnas, by its name, as parameters of `net`.

    The classifier is the file's where it has as many classes; its caller knows whether they are the same ones. Else it is
    absent from the parameters. Nothing in the file is executed.

    Raises:
        UserError: no such file; not an archive of arrays; a supernet of another space; damaged.
    """
    if name in shipped():
        with as_file(SHIPPED / f"{name}.npz") as path:
            return _load(path, net)
    return _load(Path(name), net)


def _load(path: Path, net: Supernet) -> Trained:
    arrays = _read(path)
    try:
        structure, class_names = str(arrays.pop("structure")), tuple(str(name) for name in arrays.pop("class_names"))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no supernet of jaxnas: expected the arrays structure and class_names; name another file") from error
    if _with_defaults(structure, net) != json.loads(_structure(net)):
        raise UserError(f"{path} is a supernet of another space than {net.space.name}: use the space it was trained in")
    target = jax.eval_shape(net.init, jax.random.key(0))
    other = arrays["classifier/bias"].shape != target["classifier"]["bias"].shape if "classifier/bias" in arrays else True
    wanted = {name: part for name, part in target.items() if not (other and name == "classifier")}
    return Trained(
        jax.tree_util.tree_map_with_path(lambda keys, leaf: _checked(path, path_of(keys), arrays, leaf.shape), wanted), class_names
    )


def _with_defaults(structure: str, net: Supernet) -> Any:
    """What a file says of its space's structure; settings that are younger than the file have their defaults."""
    known = fields(net.space.structure)
    try:
        return {field.name: field.default for field in known if field.default is not MISSING} | json.loads(structure)
    except (ValueError, TypeError):
        return None


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        known = ", ".join(shipped())
        raise UserError(
            f"there is no supernet {str(path)!r}: name the supernet.npz of a run, or one that comes with jaxnas ({known})"
        ) from None
    except Exception as error:  # a damaged zip fails in a dozen ways, none of them more telling than this
        raise UserError(f"cannot read the supernet {path}: {type(error).__name__}; expected the supernet.npz of a run") from error


def _checked(path: Path, place: str, arrays: dict[str, np.ndarray], shape: tuple[int, ...]) -> Any:
    found = arrays.get(place)
    if found is None or found.shape != shape or found.dtype != np.float32 or not np.isfinite(found).all():
        there = "absent" if found is None else f"{found.dtype} {found.shape}"
        raise UserError(f"{path} is damaged: {place} should be finite float32 {shape}, found {there}; fetch or train it anew")
    return jnp.asarray(found)


def _structure(net: Supernet) -> str:
    """All that decides what the weights mean."""
    settings = asdict(net.space.structure)
    return json.dumps({name: value for name, value in settings.items() if name not in _OF_THE_DATA}, sort_keys=True)
