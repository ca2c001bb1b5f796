"""The command line: `jaxnas COMMAND EXPERIMENT [--out DIR] [overrides]`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxnas import hosts, signals
from jaxnas.arguments import CHIP_COMMANDS, LOOKING, SEEDS, parse
from jaxnas.errors import FULL, UserError, check_path, one_line, silence
from jaxnas.start import keep_compiled_programs, start_jax

BENCHES = Path(__file__).parents[1] / "experiments" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """The `jaxnas` command; returns the exit code."""
    _open_streams()
    code = 1
    try:
        code = told(lambda: _main(list(sys.argv[1:] if arguments is None else arguments)))
    finally:
        hosts.leave(code)
    if arguments is None and (code > 128 or (code and hosts.count() > 1)):
        signals.end(code)
    return code


def _open_streams() -> None:
    """Standard streams that the caller has closed lead to nowhere.

    A file that takes their place would be written into.
    """
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(lowest)
    sys.stdout, sys.stderr = (
        stream or os.fdopen(number, "w") for number, stream in ((1, sys.stdout), (2, sys.stderr))
    )


def told(program: Callable[[], int]) -> int:
    """A program's exit code; what its user can mend is one line, and 2."""
    try:
        with signals.listening():
            code = program()
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"jaxnas: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        number = signal.SIGTERM if isinstance(stop, signals.Terminated) else signal.SIGINT
        print(signals.ending(number), file=sys.stderr)
        return 128 + number
    except RuntimeError as error:  # of a computation in which all take part
        if hosts.count() == 1:
            raise
        print(f"jaxnas: {one_line(str(hosts.gone(error)))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # --help | head
        silence(sys.stdout)
        return 0
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        silence(sys.stdout)  # files have errors of their own
        print(
            (
                f"jaxnas: cannot print: {error.strerror}; free some space, then run the same "
                "command again"
            ),
            file=sys.stderr,
        )
        return 2


def _main(arguments: list[str]) -> int:
    known, overrides = parse(arguments)
    command = known.command
    experiment = known.experiment
    out = known.out
    if command == "bench":
        return _bench(experiment, overrides)
    if out is not None:
        check_path("--out", out)
    _silence_libraries()
    _import_jax()
    if command in CHIP_COMMANDS:
        return _chip_command(known, overrides)
    if command in LOOKING:
        return _look(known, overrides)
    if command == "prune":
        return _prune(known, overrides)
    if others := getattr(known, "others", None):
        given = {"--algorithms": known.algorithms, "--seeds": known.seeds, "--out": out}
        given |= {"--same-start": known.same_start or None, "--front": known.front}
        given |= {"--reference": known.reference}
        unread = [name for name, value in given.items() if value is not None]
        return _compare_runs([experiment, *others], [*unread, *overrides])
    from jaxnas.experiment import load_config, load_problem, overridden

    sitting = _sitting(known)
    before = load_config(experiment)
    config = overridden(before, [*sitting, *overrides], f"jaxnas {command} {experiment}")
    if out is None:
        out = experiment if os.path.isdir(experiment) else os.path.join("runs", config.name)
    start_jax(getattr(known, "distributed", None))
    keep_compiled_programs()
    from jaxnas.stages.unread import only_read

    config = only_read(config, before)
    if hosts.follows():
        from jaxnas.stages.follow import follow

        return follow(config, out)
    if command == "compare":
        from jaxnas.studies.compare import run_compare

        names = known.algorithms or [config.search.algorithm]
        seeds = known.seeds or SEEDS
        scale = (known.reference, known.front)
        run_compare(config, out, names, seeds, load_problem(experiment), known.same_start, *scale)
    elif command == "report":
        from jaxnas.pipeline import draw_report

        draw_report(config, out, known.figures, known.watch)
    else:
        from jaxnas.pipeline import STAGES, run_stages

        also = ["layers"] if getattr(known, "per_layer", False) else []
        whole = command in ("run", "pick")
        run_stages(list(STAGES) if whole else [command, *also], config, out)
    return 0


def _compare_runs(paths: list[str], overrides: list[str]) -> int:
    if overrides:
        raise UserError(
            f"compare --with reads finished runs, got the setting {overrides[0]}: leave it out"
        )
    from jaxnas.studies.runs import compare_runs

    print(compare_runs(paths))
    return 0


def _import_jax() -> None:
    """JAX reads its environment variables when it is imported."""
    try:
        importlib.import_module("jax")
    except ValueError as error:
        raise UserError(f"JAX cannot start ({error}): mend or unset that variable") from error


def _sitting(known: argparse.Namespace) -> list[str]:
    """The overrides that `--device`, `--until` and `pick` are short for."""
    if known.command == "pick":
        from jaxnas.commands import pick

        return pick.overrides(known.experiment, known.under, known.count)
    device = getattr(known, "device", None)
    until = getattr(known, "until", None)
    overrides = [] if device is None else ["--profile.device", device]
    if until is not None:
        percent = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%", until)
        if percent is None or not 0 < float(percent[1]) < 100:
            raise UserError(
                f"--until must be a percentage above 0 and below 100, got {until!r}: write it as 3%"
            )
        overrides += ["--profile.until", str(float(percent[1]) / 100)]
    return overrides


def _bench(name: str, options: list[str]) -> int:
    """Run a bench of the checkout in a process of its own; returns its exit code."""
    if not BENCHES.is_dir():
        raise UserError(
            "benches come with a checkout of jaxnas, not with the installed package: clone it and "
            "pip install -e . there"
        )
    known = sorted(
        path.stem
        for path in BENCHES.glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    )
    if name not in known:
        raise UserError(
            f"a bench is one of {', '.join(known)}, got {name!r}: see jaxnas bench --help"
        )
    return subprocess.run([sys.executable, BENCHES / f"{name}.py", *options]).returncode


def _prune(known: argparse.Namespace, rest: list[str]) -> int:
    """`prune`, which takes the settings of the run."""
    if rest:
        raise UserError(f"unknown option {rest[0]}; see jaxnas prune --help")
    start_jax()
    keep_compiled_programs()
    from jaxnas.studies.pruning import run_prune

    run_prune(known.experiment, known.share, known.out)
    return 0


def _chip_command(known: argparse.Namespace, rest: list[str]) -> int:
    """`inspect` or `scale`, which know no run directory and no settings."""
    if rest:
        raise UserError(f"unknown option {rest[0]}; see jaxnas {known.command} --help")
    start_jax()
    from jaxnas.studies.inspection import run_inspect, run_scale

    if known.command == "inspect":
        image = (known.image_size, 3, known.classes)
        run_inspect(known.device, known.space, known.experiment, image, known.resolution, known.out)
    else:
        run_scale(known.device, known.experiment, known.resolution, known.limit_ms, known.out)
    return 0


def _look(known: argparse.Namespace, rest: list[str]) -> int:
    """`list`, `show`, `doctor` or `new`, which change no run."""
    if rest:
        raise UserError(f"unknown option {rest[0]}; see jaxnas {known.command} --help")
    from jaxnas.commands import doctor, listing, new, show

    if known.command == "list":
        listing.run_list(known.experiment)
    elif known.command == "show":
        show.run_show(known.experiment, known.under, known.count)
    elif known.command == "new":
        new.run_new(known.experiment)
    else:
        start_jax()
        doctor.run_doctor(known.device)
    return 0


def _silence_libraries() -> None:
    """What libraries say of their own affairs.

    A cache's file that a killed process left half written is compiled again.
    """
    # XLA's alarm of slow compilations; its errors reach Python as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", message="Error (reading|writing) persistent compilation cache entry"
    )


if __name__ == "__main__":
    sys.exit(main())
