"""What makes genomes the same: as text, as a key of dicts, and as networks."""

import numpy as np
from jaxtyping import Array, Int, Int32

from jaxnas.spaces.space import Space

Row = Int[Array | np.ndarray, "genes"]
Rows = Int[Array | np.ndarray, "n genes"]


def to_text(genome: Row) -> str:
    """Choice indices with spaces between, as in the files of a run.

    >>> to_text(np.array([0, 2, 1]))
    '0 2 1'
    """
    return " ".join(str(int(choice)) for choice in genome)


def from_text(text: str) -> Int32[np.ndarray, "genes"]:
    """The genome that a text spells.

    Raises:
        ValueError: it spells none.

    >>> from_text("0 2 1").tolist()
    [0, 2, 1]
    """
    choices = [int(choice) for choice in text.split()]
    if not choices or not all(0 <= choice < 2**31 for choice in choices):
        raise ValueError(f"expected choices, got {text[:80]!r}")
    return np.array(choices, np.int32)


def described(space: Space, genome: Row) -> dict[str, int | str]:
    """Values by the names of genes, for people: labels where a gene has them."""
    values = space.decode(genome)
    return {
        gene.name: gene.labels[int(i)] if gene.labels else values[gene.name]
        for gene, i in zip(space.genes, genome, strict=True)
    }


def key_of(genome: Row) -> bytes:
    """What two genomes share if and only if they are the same, to be looked up by."""
    return np.asarray(genome, np.int32).tobytes()


def distinct(space: Space, genomes: Rows) -> Int32[np.ndarray, "networks genes"]:
    """The different networks among genomes, canonical, in the order of their first."""
    canonical = np.asarray(space.canonical(genomes), np.int32)
    return canonical[first_rows(space, canonical)]


def first_rows(space: Space, genomes: Rows) -> Int[np.ndarray, "networks"]:
    """The row at which each different network comes first, in ascending order."""
    canonical = np.asarray(space.canonical(genomes))
    return np.sort(np.unique(canonical, axis=0, return_index=True)[1])


def network_numbers(space: Space, genomes: Rows) -> Int32[np.ndarray, "n"]:
    """The number of each genome's network, from 0.

    Genomes that differ only in genes that do not matter are one network.
    """
    canonical = np.asarray(space.canonical(genomes))
    return np.unique(canonical, axis=0, return_inverse=True)[1].astype(np.int32).reshape(-1)


def check_genomes(space: Space, genomes: Rows) -> None:
    """Refuses rows that are no genomes of the space.

    Raises:
        ValueError: they have another number of genes, or choices that a gene does not have.
    """
    rows = np.asarray(genomes)
    if rows.shape[1] != len(space.genes) or (rows < 0).any() or (rows >= space.sizes).any():
        raise ValueError(f"genomes of {rows.shape[1]} genes are not of {space.name}")
