"""Question: how much of a predictor's error is the device's own noise?

The test networks of a run are measured once more, by the same device with the same settings, in
rounds too, and nothing is taken from the store: the figures between the two passes are the best
that any predictor could reach.

Command: python experiments/latency_noise.py RUN ...   (after `jaxnas predict`)
"""

import sys
from dataclasses import replace

import numpy as np

from jaxnas.config import make_device
from jaxnas.experiment import load_config
from jaxnas.hardware.device import ExportedModel
from jaxnas.predictors.metrics import summary
from jaxnas.profiling.rounds import confirmed, unsettled
from jaxnas.progress import progress
from jaxnas.records.predictor import read_predictions, read_quality
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import open_job
from jaxnas.stages.measuring import exporter


def again(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Latency of the test networks in the first pass, and in a second, ms."""
    job = open_job(RunDirectory(path), load_config(path))
    settings = job.config.profile
    export = exporter(job)
    rows = [one for one in read_predictions(job.run) if one.split == "test"]
    device = make_device(settings)
    genomes = [one.genome for one in rows]
    models = [
        ExportedModel(export(genome)[0], genome, layers=job.space.layers(genome))
        for genome in genomes
    ]
    latency_ms: list[list[float]] = [[] for _ in models]
    for turn in range(settings.rounds + settings.more_rounds):
        todo = [
            i
            for i, each in enumerate(latency_ms)
            if unsettled(settings, turn, each) and len(each) == turn
        ]
        with progress(f"second pass, round {turn + 1}", len(todo)) as advance:
            for i in todo:
                latency_ms[i].append(device.measure(replace(models[i], turn=turn)).latency_ms)
                advance(latency_ms=latency_ms[i][-1])
    return np.array([one.measured_ms for one in rows]), np.array(
        [each[confirmed(each)] for each in latency_ms]
    )


def line(name: str, figures: dict[str, float]) -> str:
    """One comparison, readable."""
    return (
        f"{name}: {figures['count']:.0f} networks, Pearson {figures['pearson']:.3f}, Spearman "
        f"{figures['spearman']:.3f}, Kendall {figures['kendall']:.3f}, "
        f"{figures['within_10_percent']:.1%} within 10 %"
    )


def main(*paths: str) -> None:
    """Prints, of every run, the predictor on its test networks.

    Also the second pass on them, and the noise floor.
    """
    for path in paths:
        first, second = again(path)
        print(line(f"{path}, predictor", read_quality(RunDirectory(path))["test"]))
        print(line(f"{path}, second pass", summary(first, second)))
        print(
            f"{path}, noise floor: the same network twice differs by "
            f"{np.median(np.abs(second / first - 1)):.1%} (median)"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
