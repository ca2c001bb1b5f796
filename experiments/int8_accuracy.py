"""Question: is the int8 accuracy that the search simulates that of the int8 files which ONNX
Runtime runs?

Random subnets of a run's trained supernet, with the weights that they inherit: one compiled program
evaluates all of them as int8 networks, and each is exported, quantised and run by ONNX Runtime,
calibrated on the same images.

Command: python experiments/int8_accuracy.py RUN   (after `jaxnas train`)
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxnas.cli import told
from jaxnas.config import NUMERICS, ExportConfig
from jaxnas.experiment import load_config
from jaxnas.export.int8 import quantise
from jaxnas.export.onnx import emit
from jaxnas.export.proof import onnx_logits
from jaxnas.objectives.error import classification_error
from jaxnas.objectives.objective import EvaluationInputs, fitness
from jaxnas.progress import progress
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.job import Job, open_job
from jaxnas.training.evaluate import Examples

NETWORKS = 20
IMAGES = 2000


def examples(job: Job, size: int) -> Examples:
    """Of the test split, with as many calibration images as an export takes."""
    every = job.examples(job.data.test, size)
    return Examples(
        every.images[:IMAGES],
        every.labels[:IMAGES],
        every.calibration[: ExportConfig().calibration_images],
    )


def simulated(job: Job, genomes: np.ndarray, numerics: str) -> np.ndarray:
    """Accuracy of each genome by the compiled evaluation."""
    inputs = [
        EvaluationInputs(job.params(), {}, jnp.int32(i), examples(job, size))
        for i, size in enumerate(job.space.resolutions)
    ]
    objective = classification_error(job.net, numerics=NUMERICS[numerics])
    return 1 - fitness(job.space, (objective,), inputs)(genomes)[:, 0]


def deployed(job: Job, genome: np.ndarray) -> tuple[float, float]:
    """Accuracy of the exported file, and of its int8 twin, by ONNX Runtime."""
    size = job.resolution(genome)
    images, labels, calibration = examples(job, size)
    model = emit(job.inherited(jax.device_get(job.params()), genome), size, size, job.data.channels)
    accuracies = [
        (onnx_logits(one, images).argmax(-1) == np.asarray(labels)).mean()
        for one in (model, quantise(model, calibration))
    ]
    return float(accuracies[0]), float(accuracies[1])


def main(path: str) -> int:
    """Prints a line per network and the largest difference; 1 if that is more than a point."""
    job = open_job(RunDirectory(path), load_config(path))
    genomes = np.asarray(job.space.sample(jax.random.key(0), NETWORKS))
    exact = simulated(job, genomes, "float32")
    int8 = simulated(job, genomes, "int8")
    differences = []
    with progress("ONNX Runtime", NETWORKS) as advance:
        for i, genome in enumerate(genomes):
            float32, twin = deployed(job, genome)
            differences.append(100 * (int8[i] - twin))
            print(
                f"{i:2}: float32 {exact[i]:.2%}, ONNX Runtime {float32:.2%}; int8 simulated "
                f"{int8[i]:.2%}, ONNX Runtime {twin:.2%}, difference {differences[-1]:+.2f} points"
            )
            advance(1)
    largest = float(np.abs(differences).max())
    verdict = "met" if largest <= 1 else "MISSED"
    print(
        f"largest difference {largest:.2f} points of {IMAGES} images, mean "
        f"{np.mean(differences):+.2f}; bar 1: {verdict}"
    )
    return int(largest > 1)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
