"""Save and restore a pytree with orbax: the state of a training loop, bit for bit.

orbax spends about a millisecond a leaf and does not notice flipped bits, so all leaves travel as
one byte array, beside a table of their names, types and shapes and a checksum.
"""

import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree, UInt8

from jaxnas.errors import UserError

# The suffix orbax gives a folder until it commits it by renaming.
_UNFINISHED = ".orbax-checkpoint-tmp"


def save(path: str | os.PathLike[str], step: int, tree: PyTree, keep: int = 1) -> None:
    """Save `tree` as `path/step`, whole or not at all, then delete all but the `keep` newest.

    Leaves are arrays of any shape and type, or Python numbers; random keys go as
    `jax.random.key_data`. Steps must grow: a saved step is never overwritten, so that there is a
    good checkpoint at every moment.
    """
    folder = Path(path).absolute()
    clean(folder)
    steps = _steps(folder)
    if steps and step <= steps[-1]:
        raise ValueError(
            f"{path} has a checkpoint of step {steps[-1]} already, so step must be above it, got "
            f"{step}"
        )
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    joined = b"".join(leaf.tobytes() for leaf in leaves) or b"\0"  # orbax refuses empty arrays
    table = {"leaves": _table(tree), "crc32": zlib.crc32(joined)}
    arguments = ocp.args.Composite(
        data=ocp.args.StandardSave({"bytes": np.frombuffer(joined, np.uint8)}),
        table=ocp.args.JsonSave(table),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _silent(), _checkpointer() as checkpointer:
            checkpointer.save(folder / str(step), args=arguments)
    except (OSError, ValueError) as error:  # tensorstore reports a full disk as a ValueError
        clean(folder)
        raise UserError(
            f"cannot write checkpoint {folder / str(step)}: {_line(error)}; free some space, then "
            "run again"
        ) from error
    for old in [*steps, step][:-keep]:
        _delete(folder / str(old))


def clean(path: str | os.PathLike[str]) -> None:
    """Delete what a killed process left half saved or half deleted in `path`."""
    for leftover in Path(path).glob(f"*{_UNFINISHED}"):
        shutil.rmtree(leftover, ignore_errors=True)


def remove(path: str | os.PathLike[str]) -> None:
    """Delete all checkpoints in `path`, and the folder."""
    folder = Path(path)
    for step in _steps(folder):
        _delete(folder / str(step))
    clean(folder)
    with suppress(OSError):
        folder.rmdir()


def latest_step(path: str | os.PathLike[str]) -> int | None:
    """The newest step saved in `path`, or None."""
    return max(_steps(Path(path)), default=None)


def restore(
    path: str | os.PathLike[str], target_tree: PyTree, renamed: Mapping[str, str] | None = None
) -> PyTree:
    """The newest checkpoint in `path`, in the structure of `target_tree`.

    `renamed` holds the beginnings of leaves' names in older checkpoints, and what they are now.

    Leaves come back as the target has them: JAX arrays (also for `jax.ShapeDtypeStruct`), NumPy
    arrays or Python numbers. A checkpoint of other leaves, or a damaged one, is a `UserError`.
    """
    step = latest_step(path)
    if step is None:
        raise UserError(f"there is no checkpoint in {path}; run the training stage first")
    folder = Path(path).absolute() / str(step)
    data, table = _read(folder)
    for old, new in (renamed or {}).items():
        table = [
            [new + name.removeprefix(old) if name.startswith(old) else name, *rest]
            for name, *rest in table
        ]
    _check_leaves(folder, _table(target_tree), table)
    targets, structure = jax.tree.flatten(target_tree)
    offset = 0
    leaves = []
    for target, (_, dtype, shape) in zip(targets, table, strict=True):
        leaf = np.frombuffer(data, jnp.dtype(dtype), int(np.prod(shape)), offset).reshape(shape)
        leaves.append(_like(target, leaf))
        offset += leaf.nbytes
    return jax.tree.unflatten(structure, leaves)


def _steps(folder: Path) -> list[int]:
    return (
        sorted(int(entry.name) for entry in folder.glob("*") if entry.name.isdecimal())
        if folder.is_dir()
        else []
    )


def _delete(checkpoint: Path) -> None:
    """Delete a checkpoint so that a process killed half way leaves nothing that looks like one."""
    condemned = checkpoint.with_name(checkpoint.name + _UNFINISHED)
    checkpoint.rename(condemned)
    shutil.rmtree(condemned)


def _checkpointer() -> ocp.Checkpointer:
    """Orbax's, which of several processes otherwise waits for all to save."""
    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone),
        data=ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        table=ocp.JsonCheckpointHandler(multiprocessing_options=alone),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextmanager
def _silent() -> Iterator[None]:
    """orbax logs what it also raises, a traceback for each of its threads."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _table(tree: PyTree) -> list[list[Any]]:
    """Name, type and shape of every leaf."""
    rows = []
    for path, leaf in jax.tree.leaves_with_path(tree):
        spec = leaf if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) else np.asarray(leaf)
        rows.append(
            [
                jax.tree_util.keystr(path, simple=True, separator="/"),
                spec.dtype.name,
                list(spec.shape),
            ]
        )
    return rows


def _read(folder: Path) -> tuple[UInt8[np.ndarray, "bytes"], list[list[Any]]]:
    arguments = ocp.args.Composite(data=ocp.args.StandardRestore(), table=ocp.args.JsonRestore())
    try:
        with _checkpointer() as checkpointer:
            restored = checkpointer.restore(folder, args=arguments)
        data = restored["data"]["bytes"]
        table = restored["table"]
        if zlib.crc32(data.tobytes()) != table["crc32"]:
            raise ValueError("checksum")
    except Exception as error:  # orbax and tensorstore fail in many ways on damaged files
        raise UserError(
            f"corrupt checkpoint {folder}; delete that folder to go on without it"
        ) from error
    return data, table["leaves"]


def _check_leaves(folder: Path, expected: list[list[Any]], found: list[list[Any]]) -> None:
    if expected == found:
        return
    wanted, there = (
        {name: f"{dtype}{shape}" for name, dtype, shape in rows} for rows in (expected, found)
    )
    for name in {**wanted, **there}:
        if wanted.get(name) != there.get(name):
            raise UserError(
                f"{folder} is a checkpoint of another network: {name} should be "
                f"{wanted.get(name, 'absent')}, found {there.get(name, 'absent')}; use another "
                "--out, or delete that folder to train again"
            )
    raise UserError(
        f"{folder} has its leaves in another order; use another --out, or delete that folder to "
        "train again"
    )


def _like(target: Any, leaf: np.ndarray) -> Any:
    if isinstance(target, np.ndarray):
        return leaf.copy()
    if isinstance(target, jax.Array | jax.ShapeDtypeStruct):
        return jnp.array(leaf)
    return leaf[()] if isinstance(target, np.generic) else leaf.item()


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
