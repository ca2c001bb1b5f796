"""A paper's claims beside what was measured.

Experiments leave them in a run's claims.json, its report shows them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxnas.records.claims import CLAIMS, read_claims
from jaxnas.records.run_directory import RunDirectory


class Claim(NamedTuple):
    """One line of the table; all four are text to be read."""

    claim: str
    paper: str
    ours: str
    verdict: str


def write_claims(run: RunDirectory, experiment: str, claims: Sequence[Claim], setup: str) -> None:
    """Put one experiment's table in the place of an earlier one of the same name.

    And what differs in its set-up from the paper's.
    """
    run.write_json(
        CLAIMS,
        read_claims(run)
        | {experiment: {"claims": [claim._asdict() for claim in claims], "setup": setup}},
    )


def holds(met: bool) -> str:
    """A claim's verdict."""
    return "holds" if met else "does not hold"


def publish(run: RunDirectory, experiment: str, claims: Sequence[Claim], setup: str) -> int:
    """Print the claims and leave them in the run; 1 if one does not hold, an exit code."""
    print(f"\n{markdown(claims, setup)}")
    write_claims(run, experiment, claims, setup)
    return int(any(claim.verdict in ("does not hold", "loses") for claim in claims))


def markdown(claims: Sequence[Claim], setup: str) -> str:
    """The table as text.

    >>> claims = [Claim("it saves time", "4 times", "4.5 times", "holds")]
    >>> print(markdown(claims, "smaller networks"))
    | claim | paper | ours | verdict |
    |---|---|---|---|
    | it saves time | 4 times | 4.5 times | holds |
    <BLANKLINE>
    What differs: smaller networks
    """
    rows = [
        "| claim | paper | ours | verdict |",
        "|---|---|---|---|",
        *(f"| {' | '.join(claim)} |" for claim in claims),
    ]
    return "\n".join([*rows, "", f"What differs: {setup}"])
