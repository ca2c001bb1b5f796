"""What a process does that does not lead: its share of what all compute, and no file."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxnas import hosts, signals
from jaxnas.config import Config
from jaxnas.data.dataset import Dataset, Split
from jaxnas.data.preparation import Preparation
from jaxnas.errors import UserError
from jaxnas.records.cache import digest
from jaxnas.records.run_directory import RunDirectory
from jaxnas.stages.checks import check_settings
from jaxnas.stages.job import Job, load_data, load_space
from jaxnas.stages.method import method_of
from jaxnas.stages.shared import Program, errors_of_all, steps_from, zeros_like
from jaxnas.supernets.build import build
from jaxnas.training.loop import init_state, total_steps

Message = dict[str, Any]


def begin(config: Config, data: Dataset) -> None:
    """Tell the followers what the run is, and wait until all can follow; the leader's part."""
    if hosts.count() > 1:
        hosts.tell("begin", **_facts(config, data))
        hosts.check_answers()


def follow(config: Config, out: str) -> int:
    """Compute what the leader says, until its command is over; returns its exit code."""
    with signals.left_to_another() as asked:
        try:
            return _follow(config, out, asked)
        except hosts.Ended as end:
            hosts.heard_the_end()
            return end.code


def _follow(config: Config, out: str, asked: Callable[[], int | None]) -> int:
    try:
        check_settings(config)
        data = load_data(config.data, config.seed)
        space = load_space(config, data)
    except UserError as error:
        hosts.answer(str(error))
        raise
    _check_same(hosts.heard(asked), _facts(config, data))
    job = Job(RunDirectory(out), config, data, space, build(space))
    programs: dict[int, Program] = {}
    while True:
        message = hosts.heard(asked)
        if message["work"] == "train":
            _train(_prepared(job, message), asked)
        elif message["work"] == "errors":
            programs[message["number"]] = _errors(_prepared(job, message), message)
        elif message["work"] == "genomes":
            programs[message["number"]](np.array(message["genomes"], np.int32))


def _facts(config: Config, data: Dataset) -> Message:
    """What must be the same in all processes."""
    return {"settings": digest(repr(config)), "images": data.fingerprint()}


def _check_same(leaders: Message, own: Message) -> None:
    different = [name for name, value in own.items() if leaders[name] != value]
    reason = (
        f"its {' and '.join(different)} are not those of the first: start all processes with the "
        "same command, and with the same images"
        if different
        else ""
    )
    hosts.answer(reason)
    if reason:
        raise UserError(reason)


def _prepared(job: Job, message: Message) -> Job:
    return replace(job, prepared=Preparation(**message["prepared"]))


def _train(job: Job, asked: Callable[[], int | None]) -> None:
    settings = job.config.train
    method = method_of(job.config)
    total = total_steps(settings, job.data)
    shapes = jax.eval_shape(
        lambda key: init_state(job.trained_net, method, settings, total, key), jax.random.key(0)
    )
    steps = steps_from(job, method, hosts.share(zeros_like(shapes)))
    while hosts.heard(asked)["work"] == hosts.STEP:
        next(steps, None)


def _errors(job: Job, message: Message) -> Program:
    start, stop = message["rows"]
    search = job.data.search
    split = Split(search.images[start:stop], search.labels[start:stop])
    hybrid = replace(job.config.search.hybrid, share=message["share"], halvings=0)
    settings = replace(job.config.search, hybrid=hybrid)
    job = replace(job, config=replace(job.config, search=settings))
    params = jax.eval_shape(job.net.init, jax.random.key(0))
    return errors_of_all(job, hosts.share(zeros_like(params)), split)
