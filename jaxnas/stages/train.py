"""Train the supernet."""

import time
from functools import partial

import numpy as np
import optax

from jaxnas.errors import UserError
from jaxnas.progress import log, progress
from jaxnas.signals import Saving
from jaxnas.stages.accuracies import Accuracies
from jaxnas.stages.derive import Watch
from jaxnas.stages.job import Job
from jaxnas.stages.method import method_of
from jaxnas.stages.shared import training
from jaxnas.supernets.heads import path_of_head
from jaxnas.training.loop import init_state, total_steps
from jaxnas.training.method import Bilevel, Losses, Method, TrainConfig, TrainState
from jaxnas.training.teacher import caution
from jaxnas.weights import checkpoints, pretrained, trained

LOGGED = 200  # first steps that each have a line in metrics.jsonl


def run_train(job: Job) -> bool:
    """Train to the end, from the newest checkpoint on; False if it is trained already."""
    config = job.config
    method = method_of(config)
    total = total_steps(config.train, job.data)
    folder = job.run.path("checkpoints/supernet")
    checkpoints.clean(folder)
    latest = checkpoints.latest_step(folder)
    if latest == total:
        return _keep(job)
    if total == 0:  # of an untrained supernet the latency can still be learnt
        checkpoints.save(folder, 0, _initial(job, method, total))
        return _keep(job)
    done = latest or 0
    begun = job.train_state() or _initial(job, method, total)
    lines = Lines(config.train, method.schedule(config.train, total), total, done)
    accuracies = Accuracies(job) if config.train.evaluated_subnets else None
    watch = Watch(job, method, total) if isinstance(method, Bilevel) else None
    with (
        progress("train", total, done) as advance,
        Saving(config.train.checkpoint_minutes) as saving,
    ):
        for step, state, losses in training(job, method, begun):
            advance()
            if lines.due(step):
                figures = _figures(step, losses)
                speed = lines.speed(step)
                if accuracies and lines.ends_epoch(step):
                    figures |= accuracies(state.evaluated)
                job.record("train", step=step, **figures, **speed)
                advance(0, **figures, **(watch.note(step, state) if watch else {}))
                lines.written(step)
            due = step % config.train.checkpoint_every == 0 or step == total
            saving.after(due, partial(checkpoints.save, folder, step, state))
    return _keep(job)


class Lines:
    """When the next line of metrics.jsonl is due, and how fast the training goes."""

    def __init__(self, settings: TrainConfig, rate: optax.Schedule, total: int, done: int):
        self.settings = settings
        self.rate = rate
        self.total = total
        self.epoch = total // settings.epochs
        self.written(done)

    def due(self, step: int) -> bool:
        """Whether this step is to have a line."""
        at = step <= LOGGED or self.ends_epoch(step)
        return at or time.perf_counter() - self.time >= self.settings.log_seconds

    def ends_epoch(self, step: int) -> bool:
        return step % self.epoch == 0

    def speed(self, step: int) -> dict[str, float]:
        """Figures of the steps since the last line, and the learning rate of the last of them."""
        seconds = max(time.perf_counter() - self.time, 1e-9)
        steps = step - self.step
        return {
            "learning_rate": float(np.asarray(self.rate(step - 1))),
            "step_ms": round(1000 * seconds / steps, 2),
            "images_per_s": round(steps * self.settings.batch_size / seconds, 1),
        }

    def written(self, step: int) -> None:
        """A line of this step is there; what was done for it is no part of the next one's time."""
        self.step = step
        self.time = time.perf_counter()


def _keep(job: Job) -> bool:
    """Write supernet.safetensors, for other runs to start from; False if there is such a file."""
    if any(map(job.run.exists, trained.FILES)):
        return False
    weights = trained.to_bytes(job.net, job.params(), job.data.class_names, job.prepared)
    job.run.write_bytes(trained.FILES[0], weights)
    return True


def _initial(job: Job, method: Method, total: int) -> TrainState:
    """A fresh supernet, or one with weights trained before.

    Its classifier stays fresh where the data have classes of their own.
    """
    if total and (line := caution(method, job.trained_net.space)):
        log(f"train: {line}")
    state = init_state(job.trained_net, method, job.config.train, total, job.key("train"))
    name = job.config.weights
    if name is None:
        if total == 0:
            log(
                "train: the supernet's weights are random and stay so: accuracies that are "
                "searched are a matter of chance"
            )
        return state
    for line in pretrained.look(name, job.net, job.data.class_names).lines:
        log(f"train: {line}")
    classifier = state.params[path_of_head(job.space)]
    return state.started_from(pretrained.load(name, job.net, job.data.class_names, classifier))


def _figures(step: int, losses: Losses) -> dict[str, float]:
    named = {
        "loss": losses.random,
        "loss_largest": losses.largest,
        "loss_smallest": losses.smallest,
    }
    figures = {name: float(loss) for name, loss in named.items() if loss is not None}
    if not np.isfinite(list(figures.values())).all():
        raise UserError(
            f"the training diverged at step {step}, the loss is not finite: lower "
            "train.learning_rate and use another --out"
        )
    return figures
