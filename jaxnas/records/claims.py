"""claims.json: claims of papers beside what experiments measured on a run."""

from typing import Any

from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import named, text

CLAIMS = "claims.json"


def read_claims(run: RunDirectory) -> dict[str, Any]:
    """{experiment: its `claims` and `setup`}, {} where there are none."""
    if not run.exists(CLAIMS):
        return {}
    with reading(run, CLAIMS):
        tables = named(run.read_json(CLAIMS))
        for table in map(named, tables.values()):
            text(table, "setup")
            for claim in map(named, table["claims"]):
                for name in ("claim", "paper", "ours", "verdict"):
                    text(claim, name)
    return tables
