"""How a file of the wrong content is told."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from jaxnas.errors import UserError
from jaxnas.records.files import left_before
from jaxnas.records.run_directory import RunDirectory

SPLITS = ("train", "validation", "test")  # of the networks that are measured


def require_earlier(
    run: RunDirectory, stage: str, command: str, skipped: Collection[str] = ()
) -> None:
    """Refuses a run in which a stage before this one is not done; names the first such.

    `command`: the one that was given. `skipped`: stages that the run has no need of.
    """
    for name, file in left_before(stage).items():
        if name not in skipped and not run.exists(file):
            raise UserError(
                f"{run.root} has no {file} yet: run `jaxnas {name}` before `jaxnas {command}`, or "
                "`jaxnas run` for all of it"
            )


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
