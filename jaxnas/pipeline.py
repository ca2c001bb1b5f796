"""The main job.

Nine stages in order, each of which reads what the earlier ones left in the run directory.
"""

import time
from collections.abc import Callable, Sequence

from jaxnas.config import Config, make_device
from jaxnas.errors import UserError
from jaxnas.hardware.device import check_reachable
from jaxnas.progress import log
from jaxnas.records.candidates import RANDOM
from jaxnas.records.chosen import CHOSEN
from jaxnas.records.files import OF_LATENCY
from jaxnas.records.reading import require_earlier
from jaxnas.records.run_directory import RunDirectory
from jaxnas.report.html import write_report
from jaxnas.report.watch import watch
from jaxnas.stages.changed import outdated, put_aside, put_back
from jaxnas.stages.checks import check_fit, check_initial, check_settings, check_weights
from jaxnas.stages.data import run_data
from jaxnas.stages.differences import check_same_settings, keep_settings
from jaxnas.stages.export import run_export
from jaxnas.stages.finetune import run_finetune
from jaxnas.stages.follow import begin
from jaxnas.stages.job import Job, load_data, load_space, open_job
from jaxnas.stages.layers import run_layers
from jaxnas.stages.predict import run_predict
from jaxnas.stages.profile import run_profile
from jaxnas.stages.search import run_search
from jaxnas.stages.teacher import check_teacher
from jaxnas.stages.train import run_train
from jaxnas.stages.unread import check_read
from jaxnas.stages.verify import run_verify


def run_report(job: Job) -> bool:
    """Write report.html from the run's files alone."""
    log(f"report: {write_report(job.run)}")
    return True


# Each goes on where it stopped, and returns False if there was nothing left to do.
STAGES: dict[str, Callable[[Job], bool]] = {
    "data": run_data,
    "train": run_train,
    "profile": run_profile,
    "predict": run_predict,
    "search": run_search,
    "finetune": run_finetune,
    "export": run_export,
    "verify": run_verify,
    "report": run_report,
}
# What options of a stage's command ask for, after the stage.
OPTIONS: dict[str, Callable[[Job], bool]] = {"layers": run_layers}  # profile --per-layer


def run_stages(names: Sequence[str], config: Config, out: str) -> None:
    """Run stages in the run directory `out`, which nobody else may use meanwhile.

    Their times go to metrics.jsonl.

    What is wrong with the settings, the data or the files that they name is found before anything
    is written. The report alone needs none of these files.
    """
    run = RunDirectory(out)
    if list(names) == ["report"]:
        return draw_report(config, out)
    check_settings(config)
    check_read(config)
    skipped = _skipped(config)
    require_earlier(run, names[0], names[0], skipped)
    data = load_data(config.data, config.seed)
    space = load_space(config, data)
    check_fit(config, data, space)
    again = outdated(run, config, space, names)
    if not run.exists("checkpoints/supernet"):
        check_weights(config, data, space)
    if again or not run.exists(CHOSEN):
        check_teacher(config, data, space)
    if again or not run.exists(RANDOM):
        check_initial(config, space)
    if {"profile", "verify"} & set(names) and (again or not run.exists("verified.csv")):
        check_reachable(make_device(config.profile))
    with run:
        aside = put_aside(run, config, space, again) if again else None
        try:
            check_same_settings(run, config)
            job = open_job(run, config)
            keep_settings(run, config, job.space)
            run.clean()
            begin(config, job.data)
            _run_each(names, job, skipped)
        except UserError:
            if aside is not None:
                put_back(run, aside)
            raise


def _run_each(names: Sequence[str], job: Job, skipped: Sequence[str]) -> None:
    """The stages in order, and the time that each took."""
    for name in names:
        if name in skipped:
            log(f"{name}: not needed, for latency_ms is none of search.objectives")
            continue
        start = time.perf_counter()
        if not {**STAGES, **OPTIONS}[name](job):
            log(f"{name}: done before")
        elif name not in ("report", *OPTIONS):  # which are made anew every time
            job.record(name, event="done", seconds=round(time.perf_counter() - start, 1))


def draw_report(config: Config, out: str, figures: bool = False, watched: bool = False) -> None:
    """Draw the report from the run's files alone, wherever the images and the device may be.

    `figures`: those for papers, too. `watched`: again and again, until the run is finished.
    """
    run = RunDirectory(out)
    check_read(config)
    require_earlier(run, "train", "report")
    check_same_settings(run, config)
    if watched:
        watch(run)
        if not figures:
            return
    with run:
        check_same_settings(run, config)
        run.clean()
        log(f"report: {write_report(run, figures)}")
    if figures:
        log(f"report: figures as SVG, PDF and PNG: {run.path('figures')}")


def _skipped(config: Config) -> tuple[str, ...]:
    """Stages that this run has no need of."""
    return () if config.predicts else OF_LATENCY
