"""A run as objects: what `jaxnas.run` and `jaxnas.load` return, so that nobody opens its files."""

import os
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, Searched, read_searched
from jaxnas.records.chosen import CHOSEN, Chosen, read_chosen
from jaxnas.records.measurements import MEASURED, by_network, read_measurements
from jaxnas.records.metrics import read_metrics
from jaxnas.records.run_directory import existing_run
from jaxnas.records.verified import VERIFIED, read_verified
from jaxnas.report.headline import answer, read_head
from jaxnas.spaces.genomes import to_text
from jaxnas.stages.settings import read_config
from jaxnas.table import Table


class Run:
    """A run directory, read when asked: each property as far as the run has got.

    >>> import jaxnas
    >>> run = jaxnas.load("runs/quickstart")  # doctest: +SKIP
    >>> run.front["latency_ms"]  # doctest: +SKIP
    array([0.0317, 0.0329, 0.0412], dtype=float32)

    Raises:
        UserError: there is no run at the path, or a stage that has to come before is not done.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._files = existing_run(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run directory."""
        return self._files.root

    @property
    def report(self) -> Path:
        """The page on the run, which the stage `report` writes."""
        return self.path / "report.html"

    @cached_property
    def config(self) -> Config:
        """The settings of the run."""
        return read_config(self.path)

    @cached_property
    def candidates(self) -> Table:
        """All that the search has evaluated, a row each, in order.

        Columns: genome (text), network (its number, where the search is complete), generation, the
        objectives by name, and figures that have a limit and are not minimised. NaN: the
        evaluation failed.
        """
        archive = self._searched.archive
        whole = self._searched.whole
        network = self._searched.network
        return Table(
            {"genome": np.array([to_text(genome) for genome in archive.genomes])}
            | ({} if network is None else {"network": network})
            | {"generation": archive.generation}
            | {name: whole[name] for name in whole.names}
        )

    @cached_property
    def genomes(self) -> Int[np.ndarray, "n genes"]:
        """The candidates' rows of choice indices."""
        return self._searched.archive.genomes

    @cached_property
    def front(self) -> Table:
        """The candidates on the front, each network once, by their first cost."""
        searched = self._searched
        front = self.candidates[searched.front]
        return front.by(next(iter(searched.columns.costs), "error"))

    @cached_property
    def chosen(self) -> Table:
        """The networks that were chosen and trained on their own; measured and tested, if so far.

        Accuracies are shares of the images.
        """
        if self._files.exists(VERIFIED):
            return Table.of_rows([asdict(one) for one in read_verified(self._files).values()])
        self._require(CHOSEN, "finetune")
        return Table.of_rows([_chosen_row(one) for one in read_chosen(self._files)])

    @cached_property
    def measurements(self) -> Table:
        """The networks that the device has measured, by which its latency is predicted."""
        self._require(MEASURED, "profile")
        return Table.of_rows(
            [
                {
                    "genome": to_text(one.genome),
                    "split": one.split,
                    "macs": one.macs,
                    "latency_ms": one.latency_ms,
                    "rounds": len(one.rounds),
                }
                for one in by_network(read_measurements(self._files))
            ]
        )

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl: losses, accuracies and times, a line each."""
        return read_metrics(self._files)

    @property
    def recommendation(self) -> str:
        """Which network to take, in a sentence or two."""
        self._require(VERIFIED, "verify")
        head = read_head(self._files, self._searched.columns.costs)
        return answer(self._files, *head)["text"]

    @cached_property
    def _searched(self) -> Searched:
        self._require(CANDIDATES, "search")
        return read_searched(self._files, CANDIDATES)

    def _require(self, file: str, stage: str) -> None:
        if not self._files.exists(file):
            raise UserError(f"{self.path} has no {file} yet: jaxnas {stage} {self.path} makes it")


def _chosen_row(one: Chosen) -> dict[str, Any]:
    row = asdict(one)
    for name in ("network", "costs", "chip"):
        del row[name]
    return row | {"genome": to_text(one.genome)} | one.costs


def load(path: str | os.PathLike[str]) -> Run:
    """The run of this directory, finished or not."""
    return Run(path)


def run(config: Config, out: str | os.PathLike[str] | None = None) -> Run:
    """Runs all stages, as `jaxnas run` does, in `out` or runs/NAME, and returns the run.

    What is done already is not done again. Progress goes to stderr.

    Raises:
        UserError: the settings or the files that they name cannot be used.
    """
    from jaxnas.pipeline import STAGES, run_stages  # loads the plotting and checkpoint libraries
    from jaxnas.start import keep_compiled_programs, start_jax

    folder = os.path.join("runs", config.name) if out is None else os.fspath(out)
    start_jax()
    keep_compiled_programs()
    run_stages(list(STAGES), config, folder)
    return Run(folder)
