"""Question: how much faster is a generation of candidates fine-tuned in one compiled program than
one after another in PyTorch?

Command: jaxnas bench generation   (or python experiments/bench/generation.py)

The hybrid schedule on both sides: an epoch of the whole network, then the classifier alone on
features that are computed once. Same space, inherited weights, images, order of images and
optimizer; every candidate's accuracy is compared. Exit code 1 if a bar is missed.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from figures import Bar, Contender, Report, check_json, race, run_bench, timed
from supernet import machine_notes, peer_of
from supernet_case import FULL, QUICK, Case, make_case
from supernet_contenders import at_largest_resolution

from jaxnas.data.augment import Augmentation
from jaxnas.errors import UserError
from jaxnas.progress import log
from jaxnas.training.evaluate import Examples
from jaxnas.training.parallel import all_devices, on_each, use_every_core
from jaxnas.training.population import HybridConfig, orders, tuned_accuracies
from jaxnas.training.views import Images

BARS = {
    "cpu": (Bar("jaxnas / torch default", 1.0),),
    "gpu": (Bar("jaxnas / torch default", 3.0),),
}
KEY = 0


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    json: Path | None = None
    """Write the figures to this file too."""
    candidates: int = 28
    """Of the generation."""
    head_epochs: int = 5
    """After the one of the whole network."""
    rounds: int = 2
    """Every contender runs once in each."""
    quick: bool = False
    """Try the bench itself on a small space: no bars, and figures that mean nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The bench; returns the exit code."""
    return run_bench("generation", __doc__ or "", Settings, bench, arguments)


def bench(settings: Settings) -> Report:
    """All figures."""
    backend = jax.default_backend()
    sizes = QUICK if settings.quick else FULL
    peer = peer_of(backend)
    if settings.rounds < 1 or settings.candidates < 1:
        raise UserError(
            f"--rounds and --candidates must be at least 1, got {settings.rounds} and "
            f"{settings.candidates}"
        )
    check_json(settings.json)
    log("preparing weights, images and labels ...")
    case = make_case(sizes, None)
    hybrid = HybridConfig(1, settings.head_epochs, batch_size=sizes.batch)
    drawn = np.asarray(case.net.space.sample(jax.random.key(1), settings.candidates))
    genomes = np.stack([at_largest_resolution(case, genome) for genome in drawn])
    compiling, ours = timed(lambda: jaxnas_generation(case, genomes, hybrid))
    contenders = {"jaxnas": ours}
    if peer is not None:
        contenders["torch default"] = torch_generation(case, genomes, hybrid, peer, peer.Setting())
        contenders["torch channels-last"] = torch_generation(
            case, genomes, hybrid, peer, peer.Setting("channels-last")
        )
    report = Report(
        "generation", _notes(case, settings, peer), bars=() if settings.quick else BARS[backend]
    )
    seconds, found = race(
        "generation", [Contender(*entry) for entry in contenders.items()], settings.rounds
    )
    report.add("jaxnas, compile", "s", compiling)
    for name, taken in seconds.items():
        report.add(name, "s", *taken)
        report.add(f"{name}: mean accuracy", "of the images", float(np.mean(found[name])))
        if name != "jaxnas":
            report.add(f"jaxnas / {name}", "x", *(np.array(taken) / seconds["jaxnas"]))
            report.add(
                f"correlation of accuracies: {name}",
                "",
                np.corrcoef(found[name], found["jaxnas"])[0, 1],
            )
    return report


def examples(case: Case) -> tuple[Images, Examples]:
    """To train on and to evaluate on, at the largest resolution.

    The labels are the largest network's.
    """
    work = case.work[max(case.work)]
    n = len(work.labels) * 3 // 4
    pixels = case.pixels[case.sizes.calibration :]
    images = Images(
        *map(jnp.asarray, (pixels[:n], work.labels[:n].astype(np.int32), case.mean, case.deviation))
    )
    return images, Examples(work.images[n:], jnp.asarray(work.labels[n:]), work.calibration)


def jaxnas_generation(
    case: Case, genomes: np.ndarray, hybrid: HybridConfig
) -> Callable[[], np.ndarray]:
    """One program, compiled: accuracies of the candidates after their training."""
    mesh = all_devices()
    params, (images, evaluated) = on_each(mesh, (case.params, examples(case)))

    @jax.jit
    def program(params, genomes, images, evaluated):
        live = jnp.ones(len(genomes), bool)
        key = jax.random.key(KEY)
        return tuned_accuracies(
            case.net,
            params,
            genomes,
            live,
            images,
            evaluated,
            hybrid,
            Augmentation(0, False),
            key,
            mesh=mesh,
        )

    work = params, jnp.asarray(genomes), images, evaluated
    compiled = program.lower(*work).compile()
    return lambda: np.asarray(compiled(*work))


def torch_generation(
    case: Case, genomes: np.ndarray, hybrid: HybridConfig, peer: Any, setting: Any
) -> Callable[[], np.ndarray]:
    """The peer, candidate after candidate, over the same rows in the same order."""
    from generation_torch import tuned_accuracy

    shared = peer.shared_weights(case.params, setting)
    images, evaluated = examples(case)
    rows, whole, head = (
        np.array(one)
        for one in orders(jax.random.split(jax.random.key(KEY))[0], len(images.labels), hybrid)
    )
    work = case.work[max(case.work)]
    train = (
        peer.image_tensor(work.images[: len(rows)][rows], setting),
        peer.label_tensor(np.asarray(images.labels)[rows]),
    )
    data = peer.examples(*evaluated, setting)
    tune = partial(
        tuned_accuracy,
        shared=shared,
        train=train,
        data=data,
        orders=(whole, head),
        hybrid=hybrid,
        setting=setting,
    )
    return lambda: np.array([tune(case.net.ops(genome)) for genome in genomes])


def _notes(case: Case, settings: Settings, peer: Any) -> dict[str, str]:
    images, evaluated = examples(case)
    return {
        "space": (
            f"{case.net.space.name}, {settings.candidates} random genomes at {max(case.work)} "
            "pixels"
        ),
        "schedule": (
            f"1 epoch of the whole network, {settings.head_epochs} of the classifier, batch "
            f"{case.sizes.batch}"
        ),
        "images": (
            f"{len(images.labels)} to train, {len(evaluated.labels)} to evaluate, "
            f"{len(evaluated.calibration)} to calibrate"
        ),
        **machine_notes(peer),
    }


if __name__ == "__main__":
    use_every_core()
    # Torch needs some of a GPU's memory too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    sys.exit(main())
