"""Question: how much faster is a population in one compiled program than one subnet after another
in PyTorch?

Command: jaxnas bench supernet   (or python experiments/bench/supernet.py)

The same space, weights and images on both sides, batch norm recalibrated for every subnet; the peer
is supernet_torch.py. Exit code 1 if a bar is missed.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from figures import Bar, Contender, Report, check_json, race, run_bench, timed
from supernet_case import FULL, QUICK, RESIDUAL, Case, Sizes, make_case
from supernet_contenders import (
    jaxnas_accuracies,
    jaxnas_objectives,
    jaxnas_steps,
    torch_accuracies,
    torch_steps,
)

from jaxnas.errors import UserError, how_to_install
from jaxnas.progress import log
from jaxnas.training.parallel import use_every_core

if TYPE_CHECKING:
    from supernet_torch import Setting

# Images of 2,048 on which the two sides may differ; convolutions of a GPU round to TF32.
TIES = {"cpu": 2, "gpu": 20}
BATCHES = {"cpu": (32, 64, 128, 256), "gpu": (256, 512, 1024, 2048)}
DISTINCT = "distinct accuracies"  # sameness would say nothing if all subnets were alike
SAME = "same accuracies: {}"
BARS = {
    "cpu": (
        Bar("evaluation: jaxnas / torch default", 3.0),
        Bar("evaluation: jaxnas / torch best", 0.8),
        Bar("training, cifar: jaxnas / torch default", 1.3),
        Bar("training, cifar: jaxnas / torch channels-last", 0.9),
        Bar("training, residual: jaxnas / torch default", 1.3),
        Bar("training, residual: jaxnas / torch channels-last", 1.0),
        Bar("analytic objectives", 5e6),
        Bar(SAME.format("torch default"), 1.0),
        Bar(SAME.format("torch best"), 1.0),
        Bar(DISTINCT, 0.5),
    ),
    "gpu": (
        Bar("evaluation: jaxnas / torch default", 10.0),
        Bar(SAME.format("torch default"), 1.0),
        Bar(DISTINCT, 0.5),
    ),
}


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    json: Path | None = None
    """Write the figures to this file too."""
    images: Path | None = None
    """An archive of 32-pixel images as `npz:PATH` takes it (synthetic images by default)."""
    rounds: int = 3
    """Every contender runs once in each."""
    every: int = 4
    """On a CPU the torch default evaluates one genome in so many, since it takes minutes; ratios
    are of the same genomes."""
    only_training: bool = False
    """Measure the steps of training alone."""
    quick: bool = False
    """Try the bench itself on a small space: no bars, and figures that mean nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The bench; returns the exit code."""
    return run_bench("supernet", __doc__ or "", Settings, bench, arguments)


def bench(settings: Settings) -> Report:
    """All figures."""
    backend = jax.default_backend()
    sizes = QUICK if settings.quick else FULL
    peer = peer_of(backend)
    _check(settings, sizes)
    log("preparing weights, images and labels ...")
    case = make_case(sizes, settings.images)
    bars = () if settings.quick else BARS[backend]
    if settings.only_training:
        bars = tuple(bar for bar in bars if bar.figure.startswith("training"))
    report = Report("supernet", _notes(case, settings, peer), bars=bars)
    if not settings.only_training:
        evaluation(report, case, settings, peer, 1 if backend == "gpu" else settings.every)
        analytic(report, case, settings)
    other = case if settings.quick else make_case(RESIDUAL, settings.images)
    for name, trained in (("cifar", case), ("residual", other)):
        training(report, f"training, {name}", trained, settings, peer)
    return report


def _check(settings: Settings, sizes: Sizes) -> None:
    if settings.rounds < 1 or not 1 <= settings.every <= sizes.genomes:
        raise UserError(
            f"--rounds must be at least 1, --every in 1..{sizes.genomes}, got {settings.rounds} "
            f"and {settings.every}"
        )
    check_json(settings.json)


def peer_of(backend: str) -> Any:
    """The peer's module; None where jax runs on a GPU and torch cannot."""
    try:
        import supernet_torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UserError(
            f"this bench compares with PyTorch, which is not installed: {how_to_install('bench')}"
        ) from None
    return supernet_torch if (backend == "gpu") == (supernet_torch.DEVICE == "cuda") else None


def evaluation(report: Report, case: Case, settings: Settings, peer: Any, every: int) -> None:
    """The population through both sides; ratios are of the same genomes."""
    everyone = np.arange(len(case.genomes))
    some = everyone[every // 2 :: every]
    ours = jaxnas_accuracies(case)
    cold, _ = timed(partial(ours, everyone))
    entries = [("jaxnas", ours, everyone)] + (
        [("jaxnas, the same genomes", ours, some)] if every > 1 else []
    )
    if peer is not None:
        best = best_setting(case, peer)
        report.notes["torch best"] = str(best)
        entries += [
            ("torch default", torch_accuracies(case, peer, peer.Setting()), some),
            ("torch best", torch_accuracies(case, peer, best), everyone),
            (
                "torch best, batch-wise calibration",
                torch_accuracies(case, peer, replace(best, joint_calibration=False)),
                some,
            ),
        ]
        if peer.DEVICE == "cuda":
            entries.append(
                (
                    "torch best, autocast",
                    torch_accuracies(case, peer, replace(best, autocast=True)),
                    everyone,
                )
            )
    seconds, found = race(
        "evaluation",
        [Contender(name, partial(run, rows)) for name, run, rows in entries],
        settings.rounds,
    )

    report.add("evaluation: jaxnas, first call", "s", cold)
    report.add("evaluation: jaxnas, compile", "s", cold - float(np.median(seconds["jaxnas"])))
    report.add(DISTINCT, "of the population", len(np.unique(found["jaxnas"])) / len(everyone))
    report.notes["accuracies"] = f"{found['jaxnas'].min():.1%} to {found['jaxnas'].max():.1%}"
    for name, _, rows in entries:
        taken = np.array(seconds[name])
        report.add(f"evaluation: {name}", "subnets/s", *(len(rows) / taken))
        report.add(
            f"evaluation: {name}, images",
            "img/s",
            *(len(rows) * (case.sizes.calibration + case.sizes.evaluation) / taken),
        )
        if not name.startswith("jaxnas"):
            same_rows = "jaxnas" if len(rows) == len(everyone) else "jaxnas, the same genomes"
            report.add(f"evaluation: jaxnas / {name}", "x", *(taken / seconds[same_rows]))
            differing = np.abs(found[name] - found["jaxnas"][rows]) * case.sizes.evaluation
            report.add(f"largest difference: {name}", "images", differing.max())
            report.add(
                SAME.format(name),
                "of the subnets",
                np.mean(differing < TIES[jax.default_backend()] + 0.5),
            )


def training(report: Report, part: str, case: Case, settings: Settings, peer: Any) -> None:
    """Sandwich steps of both sides, with new random subnets in every step."""
    entries = {"jaxnas": jaxnas_steps(case)}
    if peer is not None:
        entries["torch default"] = torch_steps(case, peer, peer.Setting())
        entries["torch channels-last"] = torch_steps(
            case, peer, peer.Setting(layout="channels-last")
        )
    first = {name: timed(run)[0] for name, run in entries.items()}
    seconds, _ = race(part, [Contender(*entry) for entry in entries.items()], settings.rounds)

    report.add(
        f"{part}: jaxnas, compile", "s", first["jaxnas"] - float(np.median(seconds["jaxnas"]))
    )
    for name, taken in seconds.items():
        report.add(f"{part}: {name}", "steps/s", *(case.sizes.steps / np.array(taken)))
        report.add(
            f"{part}: {name}, images",
            "img/s",
            *(case.sizes.steps * case.sizes.batch / np.array(taken)),
        )
        if name != "jaxnas":
            report.add(f"{part}: jaxnas / {name}", "x", *(np.array(taken) / seconds["jaxnas"]))


def analytic(report: Report, case: Case, settings: Settings) -> None:
    """MACs, parameters and peak memory of random architectures."""
    run = jaxnas_objectives(case)
    cold, _ = timed(run)
    seconds, _ = race("analytic objectives", [Contender("jaxnas", run)], 3 * settings.rounds)
    report.add("analytic objectives, compile", "s", cold - float(np.median(seconds["jaxnas"])))
    report.add(
        "analytic objectives",
        "architectures/s",
        *(case.sizes.architectures / np.array(seconds["jaxnas"])),
    )


def best_setting(case: Case, peer: Any) -> "Setting":
    """The fastest of channels-last over batch sizes and thread counts.

    For a small, a middling and a large subnet.
    """
    rows = np.array([0, len(case.genomes) // 2, len(case.genomes) - 1])
    cores = peer.CORES
    settings = [
        peer.Setting("channels-last", batch, threads)
        for batch in BATCHES[jax.default_backend()]
        for threads in sorted({2**i for i in range(cores.bit_length())} | {cores})
    ]
    contenders = [
        Contender(str(setting), partial(torch_accuracies(case, peer, setting), rows))
        for setting in settings
    ]
    seconds, _ = race("torch: looking for its best setting", contenders, 2)
    return min(settings, key=lambda setting: min(seconds[str(setting)]))


def machine_notes(peer: Any) -> dict[str, str]:
    """What the figures were measured with."""
    return {
        "device": ", ".join(str(device.device_kind) for device in jax.devices()),
        "torch": f"{peer.torch.__version__}; default: {peer.Setting()}"
        if peer
        else "no GPU there: not compared",
        "load": f"{os.getloadavg()[0]:.1f} before the start: figures of a busy machine say little",
    }


def _notes(case: Case, settings: Settings, peer: Any) -> dict[str, str]:
    space = case.net.space
    sizes = case.sizes
    return {
        "space": (
            f"{space.name}, {len(case.genomes)} random genomes at "
            f"{' and '.join(map(str, case.work))} pixels"
        ),
        "images": (
            f"{sizes.calibration} to calibrate, {sizes.evaluation} to evaluate, "
            f"{settings.images or 'synthetic'}"
        ),
        **machine_notes(peer),
        "malloc": os.environ.get("GLIBC_TUNABLES", "default"),
    }


if __name__ == "__main__":
    use_every_core()
    # Torch needs some of a GPU's memory too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    sys.exit(main())
