"""Train the supernet."""

import time
from functools import partial

import numpy as np

from jaxnas.errors import UserError
from jaxnas.progress import log, progress
from jaxnas.records.metrics import append_metrics
from jaxnas.signals import Saving
from jaxnas.stages.derive import Watch
from jaxnas.stages.job import Job
from jaxnas.stages.method import method_of
from jaxnas.supernets.heads import path_of_head
from jaxnas.training.loop import init_state, total_steps, train
from jaxnas.training.method import Bilevel, Losses, Method, TrainState
from jaxnas.training.teacher import caution
from jaxnas.weights import checkpoints, pretrained, trained

LOGGED = 200  # lines in metrics.jsonl, about


def run_train(job: Job) -> bool:
    """Train to the end, from the newest checkpoint on; False if it is trained already."""
    config = job.config
    method = method_of(config)
    total = total_steps(config.train, job.data)
    folder = job.run.path("checkpoints/supernet")
    every = max(1, total // LOGGED)
    checkpoints.clean(folder)
    latest = checkpoints.latest_step(folder)
    if latest == total:
        return _keep(job)
    if total == 0:  # of an untrained supernet the latency can still be learnt
        checkpoints.save(folder, 0, _initial(job, method, total))
        return _keep(job)
    start = time.perf_counter()
    done = latest or 0
    begun = job.train_state() or _initial(job, method, total)
    watch = Watch(job, method, total) if isinstance(method, Bilevel) else None
    with (
        progress("train", total, done) as advance,
        Saving(config.train.checkpoint_minutes) as saving,
    ):
        for step, state, losses in train(
            job.trained_net,
            job.data,
            method,
            config.train,
            job.augmentation,
            job.key("train"),
            begun,
        ):
            advance()
            if step % every == 0 or step == total:
                figures = _figures(step, losses)
                speed = (step - done) * config.train.batch_size / (time.perf_counter() - start)
                append_metrics(job.run, "train", step=step, **figures, images_per_s=round(speed, 1))
                advance(0, **figures, **(watch.note(step, state) if watch else {}))
            due = step % config.train.checkpoint_every == 0 or step == total
            saving.after(due, partial(checkpoints.save, folder, step, state))
    return _keep(job)


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
    return state._replace(
        params=pretrained.load(
            name, job.net, job.data.class_names, state.params[path_of_head(job.space)]
        )
    )


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
