"""Objectives looked up in a table file.

Benchmarks of whole spaces, where every genome was measured once for all.
"""

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnas.data.archives import Archive, ArchiveError, Header, opened
from jaxnas.errors import UserError
from jaxnas.spaces.space import Space

LARGEST = 1 << 26  # genomes of a space that may have a table: 256 MiB of float32


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Table:
    """One figure of every genome of a small space; NaN where the file has none.

    `values` has one axis per gene, as long as the gene has choices. It is the pytree's leaf: pass
    the table to a compiled program as an argument, do not capture it.
    """

    name: str = field(metadata={"static": True})
    unit: str = field(metadata={"static": True})
    values: Float[Array, "*sizes"]

    def __call__(self, genomes: Int[Array | np.ndarray, "*n genes"]) -> Float[Array, "*n"]:
        """The figure of each genome, NaN for what is no genome of the space.

        One gather, millions a second.
        """
        rows = tuple(jnp.moveaxis(jnp.asarray(genomes), -1, 0))
        return self.values.at[rows].get(
            mode="fill", fill_value=jnp.nan, wrap_negative_indices=False
        )


def worst_case(*tables: Table) -> Table:
    """The largest figure of each genome, of tables in one unit: the worst of several devices."""
    name = "worst of " + ", ".join(table.name for table in tables)
    return Table(name, tables[0].unit, jnp.stack([table.values for table in tables]).max(axis=0))


def load(
    path: Path | str, column: str, space: Space, unit: str = "", genomes: str = "arch"
) -> Table:
    """A column of an .npz archive, float32; `unit` is for people to read.

    The array `genomes` of the archive, integers (rows, genes), has the choice indices of each row,
    in any order; rows may be missing. The column has shape (rows,). Nothing is unpickled.

    Raises:
        UserError: the file cannot be read or has no such column (the message lists those it has),
            or its rows are no genomes of the space, or one of them is there twice.
    """
    if math.prod(space.sizes.tolist()) > LARGEST:
        raise UserError(
            f"space {space.name} has more than {LARGEST} genomes, too many for a table: use a "
            "predictor"
        )
    rows, figures = _read(Path(os.path.expanduser(path)), column, genomes, space)
    values = np.full(space.sizes, np.nan, np.float32)
    values[tuple(rows.T)] = figures
    return Table(column, unit, jnp.asarray(values))


def _read(path: Path, column: str, genomes: str, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """The genome of each row, int64 (rows, genes), and its figure."""
    try:
        with opened(path) as archive:
            _check_rows(path, archive, genomes, space)
            _check_column(path, archive, column, archive.header(genomes).shape[0])
            return _rows(path, archive.read(genomes), genomes, space), archive.read(column)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such table; check the path, which is relative to the working directory"
        ) from None
    except ArchiveError as error:
        raise UserError(
            f"{path} cannot be read as an .npz of plain arrays ({error}): write it with numpy.savez"
        ) from error


def _check_rows(path: Path, archive: Archive, name: str, space: Space) -> None:
    """Refuses an archive without as many genomes as the space may have, at most."""
    shape, dtype = archive.header(name) if name in archive.names else Header((0,), np.dtype(float))
    genes = len(space.genes)
    if len(shape) != 2 or shape[1] != genes or dtype.kind not in "iu":
        raise UserError(
            f"{path} needs an array {name!r} of integers (rows, {genes}), the genomes of "
            f"{space.name}, got {dtype} {shape}"
        )
    if shape[0] > math.prod(space.sizes.tolist()):
        raise UserError(
            f"{path}: {name!r} has {shape[0]} rows, more than space {space.name} has genomes; keep "
            "one row of each"
        )


def _check_column(path: Path, archive: Archive, column: str, rows: int) -> None:
    headers = {name: archive.header(name) for name in archive.names}
    known = sorted(
        name
        for name, header in headers.items()
        if header.shape == (rows,) and header.dtype.kind in "iuf"
    )
    if column not in known:
        raise UserError(
            f"{path} has no column {column!r} of {rows} numbers; known: "
            f"{', '.join(known) or 'none'}"
        )


def _rows(path: Path, rows: np.ndarray, name: str, space: Space) -> np.ndarray:
    """The genome of each row, int64 (rows, genes)."""
    if (rows < 0).any() or (rows >= space.sizes).any():
        raise UserError(
            f"{path}: {name!r} must have choice indices of {space.name}, from 0 and below "
            f"{space.sizes.tolist()}; mend the file"
        )
    if len(np.unique(rows, axis=0)) < len(rows):
        raise UserError(f"{path}: {name!r} has a genome more than once; keep one row of each")
    return rows.astype(np.int64)
