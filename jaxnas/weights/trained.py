"""A trained supernet as one file, for other runs to start from.

What a run leaves as supernet.safetensors (older ones as supernet.npz), and what comes with jaxnas.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.data.preparation import BEFORE, OWN, Preparation
from jaxnas.errors import UserError
from jaxnas.supernets.heads import path_of_head
from jaxnas.supernets.supernet import Params, Supernet, path_of
from jaxnas.weights import tensor_files
from jaxnas.weights.tensor_files import SUFFIXES, TensorFile, opened

SHIPPED = files("jaxnas") / "weights" / "shipped"
# Of a run; the second of one that is older.
FILES = ("supernet.safetensors", "supernet.npz")
DTYPES = ("float32", "float16")  # of the parameters in a file
# Parts of a space's structure that may differ where the weights are used again.
_OF_THE_DATA = ("resolutions", "classes", "chip")


class Trained(NamedTuple):
    """Parameters as `Supernet.init` gives them, and what the file says of them."""

    params: Params
    class_names: tuple[str, ...]
    prepared: Preparation


class About(NamedTuple):
    """What a file says of its weights: the classes, and what images looked like to them."""

    class_names: tuple[str, ...]
    prepared: Preparation


def shipped() -> tuple[str, ...]:
    """Names of the supernets that come with jaxnas."""
    return tuple(sorted(_shipped()))


def _shipped() -> dict[str, Traversable]:
    return {
        Path(entry.name).stem: entry for entry in SHIPPED.iterdir() if entry.name.endswith(SUFFIXES)
    }


def to_bytes(
    net: Supernet,
    params: Params,
    class_names: tuple[str, ...],
    prepared: Preparation = OWN,
    more: Mapping[str, np.ndarray] | None = None,
    said: Mapping[str, Any] | None = None,
    dtype: type[np.floating] = np.float32,
) -> bytes:
    """A safetensors file: the parameters by path, and what they are.

    The structure of their space, the classes, and how images were prepared. More arrays and texts
    may stand beside them, which `load` does not read. `dtype` is float32, or float16, which takes
    half the room.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {path_of(keys): np.asarray(leaf, dtype, order="C") for keys, leaf in leaves}
    about = {"structure": _structure(net), "class_names": class_names, **asdict(prepared)}
    return tensor_files.to_bytes({**arrays, **(more or {})}, {**about, **(said or {})})


def load(name: str | os.PathLike[str], net: Supernet) -> Trained:
    """Parameters of `net` from a run's file, or from a supernet that comes with jaxnas, by name.

    The classifier is the file's where it has as many classes; its caller knows whether they are the
    same ones. Else it is absent from the parameters. Nothing in the file is executed.

    Raises:
        UserError: no such file; not a file of arrays; a supernet of another space; damaged.
    """
    with opened_file(name) as (path, file):
        about, wanted = _described(path, file, net)
        found = {place: np.asarray(file.array(place), np.float32) for place in _paths(wanted)}
    for place, array in found.items():
        if not np.isfinite(array).all():
            raise UserError(f"{path} is damaged: {place} should be finite; fetch or train it anew")
    return Trained(
        jax.tree_util.tree_map_with_path(lambda keys, _: jnp.asarray(found[path_of(keys)]), wanted),
        *about,
    )


def look(name: str | os.PathLike[str], net: Supernet) -> About:
    """What such a file says of itself, by its description alone.

    Refuses what `load` would refuse for it.
    """
    with opened_file(name) as (path, file):
        return _described(path, file, net)[0]


@contextmanager
def opened_file(name: str | os.PathLike[str]) -> Iterator[tuple[Path, TensorFile]]:
    """The path of a file, and its arrays, read when they are asked for."""
    ours = _shipped().get(str(name))
    with as_file(ours) if ours else nullcontext(Path(name)) as path:
        try:
            with opened(path) as file:
                yield path, file
        except UserError:
            raise
        except FileNotFoundError:
            known = ", ".join(shipped())
            raise UserError(
                f"there is no supernet {str(path)!r}: name the {FILES[0]} of a run, or one that "
                f"comes with jaxnas ({known})"
            ) from None
        except Exception as error:
            # Damaged files fail in a dozen ways, none of them more telling than this.
            raise UserError(
                f"cannot read the supernet {path}: {type(error).__name__}; expected the "
                f"{FILES[0]} of a run"
            ) from error


def _described(path: Path, file: TensorFile, net: Supernet) -> tuple[About, Params]:
    """What the file says of itself, and the shapes of the parameters that `net` takes from it.

    The headers of its arrays are checked against these.
    """
    structure = file.said("structure")
    class_names = file.said("class_names")
    if not isinstance(structure, str) or not _are_texts(class_names):
        raise UserError(
            f"{path} is no supernet of jaxnas: expected structure and class_names as text; name "
            "another file"
        )
    if _with_defaults(structure, net) != json.loads(_structure(net)):
        raise UserError(
            f"{path} is a supernet of another space than {net.space.name}: use the space it was "
            "trained in"
        )
    target = jax.eval_shape(net.init, jax.random.key(0))
    head = path_of_head(net.space)
    for place, leaf in _paths(target).items():
        of_head = place.startswith(f"{head}/")
        _check_header(
            path, file, place, (*leaf.shape[:-1], len(class_names)) if of_head else leaf.shape
        )
    other = len(class_names) != target[head]["kernel"].shape[-1]
    return About(tuple(class_names), _prepared(file)), {
        name: part for name, part in target.items() if not (other and name == head)
    }


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _prepared(file: TensorFile) -> Preparation:
    """As the file says; a file that does not is older than the choice."""
    said = [file.said(name) for name in ("resizing", "recalibration")]
    return Preparation(*said) if _are_texts(said) else BEFORE


def _paths(target: Params) -> dict[str, jax.ShapeDtypeStruct]:
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(target)}


def _check_header(path: Path, file: TensorFile, place: str, shape: tuple[int, ...]) -> None:
    found = file.header(place)
    if found is None or found.dtype not in DTYPES or found.shape != shape:
        there = "absent" if found is None else f"{found.dtype} {found.shape}"
        raise UserError(
            f"{path} is damaged: {place} should be finite float32 {shape}, found {there}; fetch or "
            "train it anew"
        )


def _with_defaults(structure: str, net: Supernet) -> Any:
    """What a file says of its space's structure, in today's form; None where it is none."""
    try:
        found = json.loads(json.dumps(net.space.completed(json.loads(structure))))
        return {name: value for name, value in found.items() if name not in _OF_THE_DATA}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _structure(net: Supernet) -> str:
    """All that decides what the weights mean."""
    settings = net.space.completed(net.space.settings)
    return json.dumps(
        {name: value for name, value in settings.items() if name not in _OF_THE_DATA},
        sort_keys=True,
    )
