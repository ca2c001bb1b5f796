"""How a file of the wrong content is told."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxnas.errors import UserError
from jaxnas.records.run_directory import RunDirectory

SPLITS = ("train", "validation", "test")  # of the networks that are measured


@contextmanager
def reading(run: RunDirectory, file: str) -> Iterator[None]:
    """While the contents of a file are taken apart.

    What is missing or of the wrong kind means that it is corrupt.
    """
    try:
        yield
    except (
        KeyError,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"corrupt: {run.path(file)} ({what[:200]}); delete the file to redo its stage"
        ) from error
