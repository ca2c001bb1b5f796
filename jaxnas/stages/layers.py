"""A latency table of each part of the networks, fitted to the measurements of whole ones."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from jaxnas.predictors.lookup import Tables
from jaxnas.predictors.metrics import kendall
from jaxnas.predictors.single import One
from jaxnas.progress import log
from jaxnas.records.layers import LAYERS, LayerEntry, write_layers
from jaxnas.spaces.space import Space
from jaxnas.stages.job import Job
from jaxnas.stages.predict import fit_predictor, measured_networks


def run_layers(job: Job) -> bool:
    """Write layers.csv, anew each time; True.

    These are the tables that `predict.method lookup` predicts with, and whose expected latency a
    search by gradient descends.
    """
    from sklearn.metrics import r2_score  # half a second of import

    networks = measured_networks(job)
    predict = replace(job.config.predict, method="lookup")
    model = fit_predictor(replace(job, config=replace(job.config, predict=predict)), networks)
    assert isinstance(model, One) and isinstance(model.member, Tables)
    genomes = np.asarray(job.space.canonical(networks["train"].genomes))
    entries = [*_entries(job.space, model.member, genomes)]
    write_layers(job.run, entries)
    test = networks["test"]
    predicted = np.asarray(model(test.genomes), np.float64)
    log(
        f"profile: {len(entries)} entries of {len(model.member.tables)} tables in "
        f"{job.run.path(LAYERS)}; on the {len(test.genomes)} test networks their sums have an R2 "
        f"of {r2_score(test.latency_ms, predicted):.3f} and a Kendall's tau of "
        f"{kendall(test.latency_ms, predicted):.3f}"
    )
    return True


def _entries(space: Space, tables: Tables, genomes: np.ndarray) -> Iterator[LayerEntry]:
    """What every network takes, then the entries that a canonical genome can have, by parts."""
    yield LayerEntry("", "", float(tables.constant[0]), len(genomes))
    decided = [term for term in space.terms if term.genes]
    for term, table in zip(decided, tables.tables, strict=True):
        genes = list(term.genes)
        sizes = tuple(int(space.sizes[i]) for i in genes)
        every = np.zeros((len(table[0]), len(space.genes)), np.int32)
        every[:, genes] = np.stack(np.unravel_index(np.arange(len(every)), sizes), axis=1)
        able = (np.asarray(space.canonical(every)) == every)[:, genes].all(axis=1)
        have = np.ravel_multi_index(tuple(genomes[:, i] for i in genes), sizes)
        counts = np.bincount(have, minlength=len(every))
        parts = " ".join(space.parts[i].name for i in term.parts)
        for row in np.flatnonzero(able | (counts > 0)):
            choices = " ".join(
                f"{space.genes[i].name}={space.genes[i].choices[every[row, i]]}" for i in genes
            )
            yield LayerEntry(parts, choices, float(table[0, row]), int(counts[row]))
