"""Measure the exported networks on the device, and on the test split."""

import math
from dataclasses import asdict

import numpy as np
from jaxtyping import Int32

from jaxnas.errors import UserError
from jaxnas.export.proof import onnx_logits
from jaxnas.hardware.device import Device, Measurement, failed_measurement
from jaxnas.profiling.rounds import measure_in_rounds
from jaxnas.progress import log
from jaxnas.records.chosen import Chosen, read_chosen
from jaxnas.records.exported import Exported, read_exported
from jaxnas.records.verified import VERIFIED, Answers, Verified, write_answers, write_verified
from jaxnas.spaces.genomes import to_text
from jaxnas.stages.job import Job
from jaxnas.stages.measuring import as_exported, open_device
from jaxnas.training.metrics import accuracy, balanced_accuracy, commonest_share

# What verified.csv repeats of chosen.json.
COPIED = (
    "name",
    "role",
    "macs",
    "params",
    "predicted_ms",
    "search_accuracy",
    "finetuned_search_accuracy",
)
# precision: the field of `Exported` that names its file.
MODELS = {"float32": "model", "int8": "int8_model"}


def run_verify(job: Job) -> bool:
    """Measure the exported networks again, and ask them for the test images.

    The only time that these are used.

    Writes verified.csv, and answers.npz, each network's class for every test image; False if
    verified.csv is there.
    """
    if job.run.exists(VERIFIED):
        return False
    device = open_device(job)
    networks = read_chosen(job.run, job.space)
    names = [one.name for one in networks]
    exported = read_exported(job.run, names)
    rows, answers = zip(
        *(_verified(job, device, chosen, exported[chosen.name]) for chosen in networks),
        strict=True,
    )
    each = {precision: np.stack([one[precision] for one in answers]) for precision in MODELS}
    write_answers(job.run, Answers(names, job.data.test.labels, **each))
    write_verified(job.run, rows)
    return True


def _verified(
    job: Job, device: Device, chosen: Chosen, exported: Exported
) -> tuple[Verified, dict[str, np.ndarray]]:
    """A row of verified.csv, and answers by precision.

    What begins with int8_ is of the int8 twin, NaN where the target has none.
    """
    models = {precision: getattr(exported, field) for precision, field in MODELS.items()}
    float32, int8 = (_measured(job, device, chosen.genome, model) for model in models.values())
    own = int8 if job.config.export.int8_files else float32  # which the search predicted
    answers = {
        precision: _answers(job, chosen.genome, model) for precision, model in models.items()
    }
    right, balanced = _scores(job, answers["float32"])
    int8_right, int8_balanced = _scores(job, answers["int8"])
    alone = commonest_share(job.data.test.labels)
    log(
        f"verify: {chosen.name}: {right:.1%} of the test images right (the commonest class "
        f"alone: {alone:.1%}; mean of the classes: {balanced:.1%}), {float32.latency_ms:.3f} ms at "
        f"the fastest, median {float32.median_ms:.3f} ms"
    )
    measured = asdict(own)
    row = Verified(
        **{field: getattr(chosen, field) for field in COPIED},
        genome=to_text(chosen.genome),
        measured_ms=measured.pop("latency_ms"),
        **measured,
        test_accuracy=right,
        test_balanced_accuracy=balanced,
        test_commonest_class=alone,
        **_figures("float32", float32),
        **_figures("int8", int8),
        int8_test_accuracy=int8_right,
        int8_test_balanced_accuracy=int8_balanced,
        **{field: value for field, value in asdict(exported).items() if field != "name"},
    )
    return row, answers


def _figures(precision: str, measurement: Measurement) -> dict[str, float]:
    """The latencies of one precision, as columns."""
    figures = {
        "ms": measurement.latency_ms,
        "median_ms": measurement.median_ms,
        "p99_ms": measurement.p99_ms,
    }
    return {f"{precision}_{name}": value for name, value in figures.items()}


def _measured(job: Job, device: Device, genome: np.ndarray, model: str) -> Measurement:
    """Several rounds as one measurement; a failure where there is no model."""
    if not model:
        return failed_measurement(
            device.name,
            0,
            "",
            ValueError(f"no int8 file is written for {job.config.export.target}"),
        )
    file = job.run.path(model)
    return measure_in_rounds(device, as_exported(job, file, genome), job.config.profile)


def _answers(job: Job, genome: np.ndarray, model: str) -> Int32[np.ndarray, "n"]:
    """The class of every test image, by ONNX Runtime; -1 where there is no model."""
    if not model:
        return np.full(len(job.data.test), -1, np.int32)
    test = job.examples(job.data.test, job.resolution(genome))
    return _logits(job, model, test.images).argmax(-1).astype(np.int32)


def _scores(job: Job, answers: Int32[np.ndarray, "n"]) -> tuple[float, float]:
    """Accuracy and balanced accuracy on the test split; NaN where there are no answers."""
    labels = job.data.test.labels
    return (
        (math.nan, math.nan)
        if (answers < 0).all()
        else (accuracy(answers, labels), balanced_accuracy(answers, labels))
    )


def _logits(job: Job, model: str, images) -> np.ndarray:
    """What ONNX Runtime computes from the file, which may have been damaged since."""
    data = job.run.read_bytes(model)
    try:
        return onnx_logits(data, images)
    except Exception as error:  # the runtime has an exception of its own for every kind of damage
        raise UserError(
            f"corrupt: {job.run.path(model)}; delete it and run `jaxnas export` again"
        ) from error
