"""Whether the files that a report is drawn from are what the stages wrote.

Before anything is drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from jinja2 import UndefinedError

from jaxnas.errors import UserError
from jaxnas.records import archives, documents, tables
from jaxnas.records.measurements import read_asked, read_measurements
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory


def check_files(run: RunDirectory) -> None:
    """Refuses a run one of whose files is damaged; says which."""
    for read in (
        documents.read_environment,
        documents.read_data,
        documents.read_quality,
        documents.read_metrics,
        documents.read_claims,
        read_measurements,
        read_asked,
        tables.read_predictions,
    ):
        read(run)
    verified = tables.read_verified(run)
    for one in documents.read_chosen(run):
        if one["name"] not in verified:
            raise UserError(
                f"verified.csv in {run.root} lacks {one['name']!r}: run `jaxnas verify` first"
            )
    _check_archives(run)


def _check_archives(run: RunDirectory) -> None:
    with reading(run, "config.json"):
        # Older runs have none.
        further = run.read_json("config.json").get("search", {}).get("also", [])
        columns = 2 + len(further)
    for file in ("candidates.npz", "random.npz"):
        found = archives.read_candidates(run, file)["fitness"].shape[1]
        with reading(run, file):
            if found != columns:
                raise ValueError(f"{found} objectives, where the settings name {columns}")
    if run.exists("doubt.npz"):
        archives.read_doubt(run)
    archives.read_selection(run)
    archives.read_answers(run)


@contextmanager
def drawing(run: RunDirectory) -> Iterator[None]:
    """While files that are right one by one are put together.

    What does not fit is the user's to mend, not a traceback.
    """
    try:
        yield
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        UndefinedError,
    ) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(
            f"the files of {run.root} do not go together ({what[:200]}): restore the one that was "
            "changed, or delete it and run its stage"
        ) from error
