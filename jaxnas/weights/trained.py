"""A trained supernet as one file of plain arrays.

What a run leaves as supernet.npz, and what comes with jaxnas.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib.resources import as_file, files
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.data.preparation import BEFORE, OWN, Preparation
from jaxnas.errors import UserError
from jaxnas.supernets.supernet import Params, Supernet, path_of

SHIPPED = files("jaxnas") / "weights" / "shipped"
TEXT_BYTES = 64 << 20  # of the names of a million classes
# Parts of a space's structure that may differ where the weights are used again.
_OF_THE_DATA = ("resolutions", "classes")


class Trained(NamedTuple):
    """Parameters as `Supernet.init` gives them.

    And the classes that their classifier tells apart.
    """

    params: Params
    class_names: tuple[str, ...]
    prepared: Preparation


class About(NamedTuple):
    """What a file says of its weights: the classes, and what images looked like to them."""

    class_names: tuple[str, ...]
    prepared: Preparation


def shipped() -> tuple[str, ...]:
    """Names of the supernets that come with jaxnas."""
    return tuple(
        sorted(
            entry.name.removesuffix(".npz")
            for entry in SHIPPED.iterdir()
            if entry.name.endswith(".npz")
        )
    )


def to_arrays(
    net: Supernet, params: Params, class_names: tuple[str, ...], prepared: Preparation = OWN
) -> dict[str, np.ndarray]:
    """The arrays of an npz file: the parameters by path, float32, and what they are.

    The structure of their space, the classes, and how images were prepared.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays = {path_of(keys): np.asarray(leaf, np.float32) for keys, leaf in leaves}
    about = {"structure": _structure(net), "class_names": class_names, **asdict(prepared)}
    return arrays | {name: np.array(text) for name, text in about.items()}


def load(name: str | os.PathLike[str], net: Supernet) -> Trained:
    """Parameters of `net` from a file.

    A file of `to_arrays`, or a supernet that comes with jaxnas, by its name.

    The classifier is the file's where it has as many classes; its caller knows whether they are the
    same ones. Else it is absent from the parameters. Nothing in the file is executed.

    Raises:
        UserError: no such file; not an archive of arrays; a supernet of another space; damaged.
    """
    with _opened(name) as (path, archive):
        about, wanted = _described(path, archive, net)
        found = {place: archive[place] for place in _paths(wanted)}
    for place, array in found.items():
        if not np.isfinite(array).all():
            raise UserError(f"{path} is damaged: {place} should be finite; fetch or train it anew")
    return Trained(
        jax.tree_util.tree_map_with_path(lambda keys, _: jnp.asarray(found[path_of(keys)]), wanted),
        *about,
    )


def look(name: str | os.PathLike[str], net: Supernet) -> About:
    """What such a file says of itself, from its description alone.

    Refuses what `load` would refuse for it.
    """
    with _opened(name) as (path, archive):
        return _described(path, archive, net)[0]


@contextmanager
def _opened(name: str | os.PathLike[str]) -> Iterator[tuple[Path, Any]]:
    """The archive's path and its arrays, read when they are asked for."""
    with as_file(SHIPPED / f"{name}.npz") if name in shipped() else nullcontext(Path(name)) as path:
        try:
            with np.load(path, allow_pickle=False) as archive:
                yield path, archive
        except UserError:
            raise
        except FileNotFoundError:
            known = ", ".join(shipped())
            raise UserError(
                f"there is no supernet {str(path)!r}: name the supernet.npz of a run, or one that "
                f"comes with jaxnas ({known})"
            ) from None
        except Exception as error:
            # A damaged zip fails in a dozen ways, none of them more telling than this.
            raise UserError(
                f"cannot read the supernet {path}: {type(error).__name__}; expected the "
                "supernet.npz of a run"
            ) from error


def _described(path: Path, archive: Any, net: Supernet) -> tuple[About, Params]:
    """What the file says of itself, and the shapes of the parameters that `net` takes.

    By these the archive's headers were checked.
    """
    if not {"structure", "class_names"} <= set(archive.files):
        raise UserError(
            f"{path} is no supernet of jaxnas: expected the arrays structure and class_names; name "
            "another file"
        )
    structure = str(_text(path, archive, "structure"))
    class_names = tuple(map(str, np.atleast_1d(_text(path, archive, "class_names"))))
    if _with_defaults(structure, net) != json.loads(_structure(net)):
        raise UserError(
            f"{path} is a supernet of another space than {net.space.name}: use the space it was "
            "trained in"
        )
    target = jax.eval_shape(net.init, jax.random.key(0))
    for place, leaf in _paths(target).items():
        head = place.startswith("classifier/")
        _check_header(
            path, archive, place, (*leaf.shape[:-1], len(class_names)) if head else leaf.shape
        )
    other = len(class_names) != target["classifier"]["bias"].shape[0]
    return About(class_names, _prepared(path, archive)), {
        name: part for name, part in target.items() if not (other and name == "classifier")
    }


def _prepared(path: Path, archive: Any) -> Preparation:
    """As the file says; one that does not is older than the choice."""
    if not {"resizing", "recalibration"} <= set(archive.files):
        return BEFORE
    return Preparation(*(str(_text(path, archive, name)) for name in ("resizing", "recalibration")))


def _paths(target: Params) -> dict[str, jax.ShapeDtypeStruct]:
    return {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(target)}


def _text(path: Path, archive: Any, name: str) -> np.ndarray:
    """An array of text.

    Refuses one that is none, or that would unpack to more than any description takes.
    """
    shape, dtype = _header(archive, name)
    if dtype.kind != "U" or prod(shape) * dtype.itemsize > TEXT_BYTES:
        raise UserError(
            f"{path} is damaged: {name} should be text, found {dtype} {shape}; fetch or train it "
            "anew"
        )
    return archive[name]


def _check_header(path: Path, archive: Any, place: str, shape: tuple[int, ...]) -> None:
    found = _header(archive, place) if place in archive.files else None
    if found != (shape, np.dtype(np.float32)):
        there = "absent" if found is None else f"{found[1]} {found[0]}"
        raise UserError(
            f"{path} is damaged: {place} should be finite float32 {shape}, found {there}; fetch or "
            "train it anew"
        )


def _header(archive: Any, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """An array's shape and type, of which no number is read."""
    with archive.zip.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return shape, dtype


def _with_defaults(structure: str, net: Supernet) -> Any:
    """What a file says of its space's structure, in today's form; None where it is none."""
    try:
        known: Any = net.space.structure
        found = known.completed(json.loads(structure))
        return {name: value for name, value in found.items() if name not in _OF_THE_DATA}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _structure(net: Supernet) -> str:
    """All that decides what the weights mean."""
    structure: Any = net.space.structure
    settings = structure.completed(structure.settings())
    return json.dumps(
        {name: value for name, value in settings.items() if name not in _OF_THE_DATA},
        sort_keys=True,
    )
