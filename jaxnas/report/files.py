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


def objectives_of(run: RunDirectory) -> tuple[str, ...]:
    """What the search of a run minimised; older ones name what comes after error and latency."""
    with reading(run, "config.json"):
        search = run.read_json("config.json").get("search", {})
        return tuple(search.get("objectives", ["error", "latency_ms", *search.get("also", [])]))


def check_files(run: RunDirectory) -> None:
    """Refuses a run one of whose files is damaged; says which."""
    for read in (
        documents.read_environment,
        documents.read_data,
        documents.read_metrics,
        documents.read_claims,
        read_measurements,
        read_asked,
    ):
        read(run)
    if run.exists("predictor.json"):  # where the search minimised a latency
        documents.read_quality(run)
        tables.read_predictions(run)
    verified = tables.read_verified(run)
    for one in documents.read_chosen(run, "latency_ms" in objectives_of(run)):
        if one["name"] not in verified:
            raise UserError(
                f"verified.csv in {run.root} lacks {one['name']!r}: run `jaxnas verify` first"
            )
    _check_archives(run)


def _check_archives(run: RunDirectory) -> None:
    names = objectives_of(run)
    for file in ("candidates.npz", "random.npz"):
        arrays = archives.read_candidates(run, file)
        with reading(run, file):
            archives.labels_of(arrays)
            if (found := archives.columns_of(arrays).names) != names:
                raise ValueError(f"objectives {found}, where the settings name {names}")
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
