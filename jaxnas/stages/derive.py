"""What a search by gradient has learnt: told while it is trained, and the networks derived."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxnas.progress import log
from jaxnas.records.derived import DERIVED, Derived, read_derived, write_derived
from jaxnas.records.metrics import ARCHITECTURE
from jaxnas.relaxations.architecture import (
    Architecture,
    at_resolution,
    collapse,
    derived,
    has_collapsed,
    skipped,
)
from jaxnas.stages.evaluation import error_evaluator, in_batches, search_split
from jaxnas.stages.job import Job
from jaxnas.stages.method import method_of
from jaxnas.training.evaluate import mixture_accuracy
from jaxnas.training.method import Bilevel, TrainState
from jaxnas.types import SoftGenome

# Share of the steps, and of the entropy; before, the most probable choices are a matter of chance.
WARNED_FROM = 0.5
UNDECIDED = 0.999
DRAWN = 8  # networks that stand for an architecture of which no mixture was trained


@dataclass
class Watch:
    """Tells of the architectures in a training; which of them have collapsed was said before."""

    job: Job
    method: Bilevel
    total: int
    said: set[str] = field(default_factory=set)

    def note(self, step: int, state: TrainState) -> dict[str, float]:
        """A line of metrics.jsonl for each architecture; figures for the bar, of the last one."""
        shown: dict[str, float] = {}
        for one in self.method.learnt(self.job.space, state.extra):
            figures = _figures(self.job, one)
            self.job.record("train", event=ARCHITECTURE, step=step, **figures)
            shown = {"entropy": float(np.mean(figures["entropy"]))}
            shown |= {
                name: figures[name]
                for name in ("reward", "cost", "target", "skips")
                if name in figures
            }
            if step >= WARNED_FROM * self.total:
                self._warn(step, figures)
        return shown

    def _warn(self, step: int, figures: dict[str, Any]) -> None:
        label = figures["label"]
        if not figures["collapsed"] or np.mean(figures["entropy"]) > UNDECIDED:
            self.said.discard(label)
        elif label not in self.said:
            self.said.add(label)
            said = collapse(label, figures["skips"], figures["skippable"])
            log(f"train: step {step} of {self.total}: {said}")


def derive(job: Job) -> list[Derived]:
    """Each architecture's most probable network at every resolution, also in derived.json.

    None where the run's training learns no architecture.
    """
    method = method_of(job.config)
    if not isinstance(method, Bilevel) or job.config.train.epochs == 0:
        return []
    if not job.run.exists(DERIVED):
        write_derived(job.run, _derive(job, method))
    return read_derived(job.run, job.space)


def _derive(job: Job, method: Bilevel) -> list[Derived]:
    state = job.train_state()
    assert state is not None  # the search needs its weights, too
    errors, _ = error_evaluator(job, search_split(job))

    def accuracies(genomes: Int[np.ndarray, "n genes"]) -> Float[np.ndarray, "n"]:
        return 1 - in_batches(errors, genomes, job.config.search.population)

    learnt = method.learnt(job.space, state.extra)
    found = [network for one in learnt for network in _derived(job, state, one, accuracies)]
    for one in found:
        told = f" of {one.label}" if one.label else ""
        gap = f"{one.relaxed_accuracy:.1%} relaxed, {one.accuracy:.1%} as the network derived"
        log(f"search: accuracy of the architecture{told}: {gap}")
    return found


def _derived(
    job: Job, state: TrainState, one: Architecture, accuracies: Callable[[np.ndarray], np.ndarray]
) -> list[Derived]:
    genomes = derived(job.space, one)
    own = accuracies(genomes)
    found = []
    for genome, accuracy in zip(genomes, own.tolist(), strict=True):
        pixels = job.resolution(genome)
        soft = at_resolution(job.space, jnp.asarray(one.probabilities, jnp.float32), pixels)
        relaxed = (
            float(np.mean(accuracies(_drawn(job, np.asarray(soft)))))
            if one.hard
            else _mixture_accuracy(job, state, soft, pixels)
        )
        skips, skippable = skipped(job.space, genome)
        row = Derived(
            one.label,
            genome,
            job.space.decode(genome),
            accuracy,
            relaxed,
            skips,
            skippable,
            has_collapsed(job.space, genome),
            one.cost_of(jax.nn.one_hot(genome, soft.shape[-1])),
            one.cost_of(soft),
            one.target,
        )
        found.append(row)
    return found


def _drawn(job: Job, soft: Float[np.ndarray, "genes choices"]) -> Int[np.ndarray, "n genes"]:
    """Networks by the probabilities of their choices."""
    random = np.random.default_rng(job.config.seed)
    rows = [random.choice(len(row), DRAWN, p=row / row.sum()) for row in soft.astype(np.float64)]
    return np.asarray(job.space.canonical(np.stack(rows, axis=-1).astype(np.int32)))


def _mixture_accuracy(job: Job, state: TrainState, soft: SoftGenome, pixels: int) -> float:
    examples = job.examples(search_split(job), pixels)
    return float(_mixed(job.net, state.evaluated, soft, examples))


_mixed = jax.jit(mixture_accuracy, static_argnums=0)


def _figures(job: Job, one: Architecture) -> dict[str, Any]:
    genome = derived(job.space, one)[-1]
    skips, skippable = skipped(job.space, genome)
    figures: dict[str, Any] = {
        "label": one.label,
        "entropy": [round(share, 4) for share in one.entropies().tolist()],
        "skips": skips,
        "skippable": skippable,
        "collapsed": has_collapsed(job.space, genome),
    }
    cost = one.cost_of(jnp.asarray(one.probabilities, jnp.float32))
    known = {"cost": cost, "target": one.target, "reward": one.reward}
    return figures | {name: value for name, value in known.items() if np.isfinite(value)}
