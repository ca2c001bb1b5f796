"""Objectives looked up in a table file: benchmarks of whole spaces, where every genome was measured once for all."""

import math
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.errors import UserError
from jaxnas.spaces.space import Space

LARGEST = 1 << 26  # genomes of a space that may have a table: 256 MiB of float32


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Table:
    """One figure of every genome of a small space; NaN where the file has none.

    `values` has one axis per gene, as long as the gene has choices. It is the pytree's leaf: pass the table to a compiled
    program as an argument, do not capture it.
    """

    name: str = field(metadata={"static": True})
    unit: str = field(metadata={"static": True})
    values: Float[Array, "*sizes"]

    def __call__(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Float[Array, "*n"]:
        """The figure of each genome, NaN for what is no genome of the space; one gather, millions a second."""
        rows = tuple(jnp.moveaxis(jnp.asarray(genomes), -1, 0))
        return self.values.at[rows].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def load(path: Path | str, column: str, space: Space, unit: str = "", genomes: str = "arch") -> Table:
    """A column of an .npz archive, float32; `unit` is for people to read.

    The array `genomes` of the archive, integers (rows, genes), has the choice indices of each row, in any order; rows may be
    missing. The column has shape (rows,). Nothing is unpickled.

    Raises:
        UserError: the file cannot be read or has no such column (the message lists those it has), or its rows are no
            genomes of the space, or one of them is there twice.
    """
    if math.prod(space.sizes.tolist()) > LARGEST:
        raise UserError(f"space {space.name} has more than {LARGEST} genomes, too many for a table: use a predictor")
    arrays = _read(Path(path).expanduser())
    rows = _rows(path, arrays, genomes, space)
    columns = {name: array for name, array in arrays.items() if array.shape == (len(rows),) and array.dtype.kind in "iuf"}
    if column not in columns:
        raise UserError(f"{path} has no column {column!r} of {len(rows)} numbers; known: {', '.join(sorted(columns)) or 'none'}")
    values = np.full(space.sizes, np.nan, np.float32)
    values[tuple(rows.T)] = columns[column]
    return Table(column, unit, jnp.asarray(values))


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such table; check the path, which is relative to the working directory") from None
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as an .npz of plain arrays ({reason}): write it with numpy.savez") from error


def _rows(path: Path | str, arrays: dict[str, np.ndarray], name: str, space: Space) -> np.ndarray:
    """The genome of each row, int64 (rows, genes)."""
    rows, genes = arrays.get(name, np.zeros(0)), len(space.genes)
    if rows.ndim != 2 or rows.shape[1] != genes or rows.dtype.kind not in "iu":
        raise UserError(
            f"{path} needs an array {name!r} of integers (rows, {genes}), the genomes of {space.name}, got {rows.dtype} {rows.shape}"
        )
    if (rows < 0).any() or (rows >= space.sizes).any():
        raise UserError(
            f"{path}: {name!r} must have choice indices of {space.name}, from 0 and below {space.sizes.tolist()}; mend the file"
        )
    if len(np.unique(rows, axis=0)) < len(rows):
        raise UserError(f"{path}: {name!r} has a genome more than once; keep one row of each")
    return rows.astype(np.int64)
