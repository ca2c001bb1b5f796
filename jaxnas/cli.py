"""The command line: `jaxnas COMMAND EXPERIMENT [--out DIR] [overrides]`."""

import argparse
import importlib.util
import io
import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import jax
import tyro

from jaxnas.config import Config
from jaxnas.errors import UserError
from jaxnas.store import cache_folder

COMMANDS = {
    "run": "run the whole job: every stage below, in order",
    "data": "load and split the images: data.json, environment.json",
    "train": "train the weight-sharing supernet: checkpoints/supernet",
    "profile": "measure the latency of subnets that cover the space: measurements.csv",
    "predict": "fit the latency predictor: predictor.npz, predictions.csv, predictor.json",
    "search": "search accuracy against latency, random sampling beside: candidates.npz, random.npz, doubt.npz if it asks the device",
    "finetune": "choose three networks of the front and train each on its own: chosen.json",
    "export": "write the chosen networks as ONNX, with proof: models/*.onnx, exported.csv",
    "verify": "measure the exported networks again, test them once: verified.csv",
    "report": "draw the report from the run's files: report.html",
}
COMPARE = "compare search algorithms over many seeds, on the supernet and predictor of a run: compare/compare.html"

CHIP_COMMANDS = {
    "inspect": "what each block of a network asks of an analytic chip: a table, and a bar chart",
    "scale": "all networks of a space of widths on a chip: the front of operations against efficiency",
}

MANUAL = """\
EXPERIMENT is a Python file that defines `config`, a jaxnas.config.Config, or the
directory of a run, whose settings are then taken up again. A file may define
others beside it: FILE.py:paper is its `paper`.

Every command works on a run directory, and goes on where an earlier one stopped,
however it stopped; the same command line resumes. Settings that differ from those
of the run are refused. Nothing is written outside the run directory and the
cache of compiled programs and evaluations, JAXNAS_CACHE (default ~/.cache/jaxnas).

Overrides name any setting, with dots:

  jaxnas run experiments/quickstart.py --out runs/short --train.epochs 5
  jaxnas run experiments/quickstart.py --latency-limit-ms 0.1
  jaxnas run experiments/quickstart.py --space mine.toml
  jaxnas run experiments/quickstart.py --device onnxruntime --until 3%
  jaxnas run experiments/quickstart.py --help        lists all settings

Exit codes: 0 done, 2 a mistake that you can mend (one line says how), 130 Ctrl-C.
"""

BENCHES = Path(__file__).parents[1] / "experiments" / "bench"

SETTINGS = "Settings of this experiment, all of which can be overridden as below; `--out DIR` names the run directory."


def main(arguments: Sequence[str] | None = None) -> int:
    """The `jaxnas` command; returns the exit code."""
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    except UserError as error:
        print(f"jaxnas: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxnas: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _main(arguments: list[str]) -> int:
    known, overrides = _parse(arguments)
    command, experiment, out = known.command, known.experiment, known.out
    if command == "bench":
        return _bench(experiment, overrides)
    if command in CHIP_COMMANDS:
        return _chip_command(known, overrides)
    config = _overridden(load_config(experiment), [*_sitting(known), *overrides], f"jaxnas {command} {experiment}")
    if out is None:
        out = experiment if os.path.isdir(experiment) else os.path.join("runs", config.name)
    _keep_compiled_programs()
    _silence_libraries()
    from jaxnas.pipeline import STAGES, run_stages  # heavy imports, after the arguments are known to be right
    from jaxnas.training.parallel import use_every_core

    use_every_core()

    if command == "compare":
        from jaxnas.compare import run_compare

        names = [config.search.algorithm] if known.algorithms is None else known.algorithms.split(",")
        run_compare(config, out, names, known.seeds, load_problem(experiment))
    else:
        run_stages(list(STAGES) if command == "run" else [command], config, out)
    return 0


def _sitting(known: argparse.Namespace) -> list[str]:
    """The overrides that `--device` and `--until` are short for."""
    device, until = getattr(known, "device", None), getattr(known, "until", None)
    overrides = [] if device is None else ["--profile.device", device]
    if until is not None:
        percent = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", until)
        if percent is None or not 0 < float(percent[1]) < 100:
            raise UserError(f"--until must be a percentage above 0 and below 100, got {until!r}: write it as 3%")
        overrides += ["--profile.until", str(float(percent[1]) / 100)]
    return overrides


def _bench(name: str, options: list[str]) -> int:
    """Run a bench of the checkout in a process of its own; returns its exit code."""
    if not BENCHES.is_dir():
        raise UserError("benches come with a checkout of jaxnas, not with the installed package: clone it and pip install -e . there")
    known = sorted(path.stem for path in BENCHES.glob("*.py") if '__name__ == "__main__"' in path.read_text())
    if name not in known:
        raise UserError(f"a bench is one of {', '.join(known)}, got {name!r}: see jaxnas bench --help")
    return subprocess.run([sys.executable, BENCHES / f"{name}.py", *options]).returncode


def _chip_command(known: argparse.Namespace, rest: list[str]) -> int:
    """`inspect` or `scale`, which know no run directory and no settings."""
    if rest:
        raise UserError(f"unknown option {rest[0]}; see jaxnas {known.command} --help")
    from jaxnas.inspection import run_inspect, run_scale

    if known.command == "inspect":
        image = (known.image_size, 3, known.classes)
        run_inspect(known.device, known.space, known.experiment, image, known.resolution, known.out)
    else:
        run_scale(known.device, known.experiment, known.resolution, known.limit_ms, known.out)
    return 0


class _Parser(argparse.ArgumentParser):
    """Complains in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of the command, and the overrides."""
    parser = _Parser(
        prog="jaxnas",
        description="Hardware-aware neural architecture search: from images and a device to exported, measured networks.",
        epilog=MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for name, summary in {**COMMANDS, "compare": COMPARE}.items():
        options = " [--algorithms A,B,...] [--seeds N]" if name == "compare" else ""
        command = commands.add_parser(
            name,
            help=summary,
            description=f"jaxnas {name}: {summary}.",
            epilog=MANUAL,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            usage=f"jaxnas {name} EXPERIMENT{options} [--out DIR] [overrides]",
            add_help=len(arguments) < 3,  # with an experiment named, --help lists its settings
            allow_abbrev=False,
        )
        command.add_argument("experiment", metavar="EXPERIMENT", help="an experiment file, or the directory of a run")
        command.add_argument("--out", metavar="DIR", help="the run directory (default: runs/NAME, or the run directory given)")
        if name == "compare":
            command.add_argument("--algorithms", metavar="A,B,...", help="beside random search (default: the experiment's own)")
            command.add_argument("--seeds", metavar="N", type=int, default=30, help="searches of each algorithm (default: 30)")
        if name in ("run", "profile"):
            command.add_argument("--device", metavar="NAME", help="what measures, short for --profile.device NAME")
            command.add_argument("--until", metavar="3%", help="measure until fresh subnets are predicted this well, in one sitting")
    _add_chip_commands(commands)
    summary = "time jaxnas against its peers; needs a checkout"
    bench = commands.add_parser("bench", help=summary, description=f"jaxnas bench: {summary}.", add_help=len(arguments) < 3)
    bench.add_argument("experiment", metavar="NAME", help="experiments/bench/NAME.py; jaxnas bench NAME --help lists its options")
    bench.set_defaults(out=None)
    return parser.parse_known_args(arguments)


def _add_chip_commands(commands: Any) -> None:
    inspect, scale = (
        commands.add_parser(name, help=summary, description=f"jaxnas {name}: {summary}.", allow_abbrev=False)
        for name, summary in CHIP_COMMANDS.items()
    )
    inspect.add_argument("experiment", metavar="GENOME", help="smallest, largest, or a choice for every gene: '0 2 1 ...'")
    inspect.add_argument("--space", metavar="NAME", default="mobilenet_v2:1", help="default: mobilenet_v2:1, MobileNetV2 as published")
    inspect.add_argument("--image-size", metavar="PX", type=int, default=32, help="of the images, for spaces that depend on it (32)")
    inspect.add_argument("--classes", metavar="N", type=int, default=1000, help="default: 1000")
    inspect.add_argument("--resolution", metavar="PX", type=int, help="another than the genome's")
    scale.add_argument("experiment", metavar="SPACE", help="a space of at most 50 million networks: mobilenet_v2")
    scale.add_argument("--resolution", metavar="PX", type=int, default=160, help="default: 160")
    scale.add_argument("--limit-ms", metavar="MS", type=float, help="only networks that are as fast")
    for parser in (inspect, scale):
        parser.add_argument("--device", metavar="NAME", default="raptor", help="raptor, raptor_small, or a .toml file (default: raptor)")
        parser.add_argument("--out", metavar="FILE", help="the picture, SVG (default: named after what it shows)")


def load_config(experiment: str) -> Config:
    """The `config` of an experiment file, of FILE.py:NAME its NAME, or the settings of a run directory."""
    path, name = _file_and_name(experiment)
    if path.is_dir():
        try:
            return _from_dict(Config, json.loads((path / "config.json").read_text()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no run directory that can be taken up ({error}): name an experiment file") from error
    config = getattr(_experiment(path), name, None)
    if not isinstance(config, Config):
        raise UserError(f"{path} must define `{name}`, a jaxnas.config.Config, got {type(config).__name__}")
    return config


def _file_and_name(experiment: str) -> tuple[Path, str]:
    """
    >>> _file_and_name("a/b.py:paper"), _file_and_name("runs/b")
    ((PosixPath('a/b.py'), 'paper'), (PosixPath('runs/b'), 'config'))
    """
    file, colon, name = experiment.rpartition(":")
    return (Path(file), name) if colon and file.endswith(".py") else (Path(experiment), "config")


def load_problem(experiment: str) -> Callable[[], Any] | None:
    """The function `problem` of an experiment file, which returns a `jaxnas.compare.Problem`; None where there is none."""
    path, _ = _file_and_name(experiment)
    return None if path.is_dir() else getattr(_experiment(path), "problem", None)


def _experiment(path: Path) -> ModuleType:
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"an experiment is a Python file that defines `config`, or the directory of a run, got {str(path)!r}: no such file")
    spec = importlib.util.spec_from_file_location("experiment", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} does not run: {type(error).__name__}: {error}") from error
    return module


def _from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The inverse of `dataclasses.asdict`, for settings; an unknown or missing one is a `TypeError` or `KeyError`."""
    nested = {f.name: f.default_factory for f in fields(kind) if is_dataclass(f.default_factory)}
    return kind(**{name: _from_dict(nested[name], value) if name in nested else value for name, value in values.items()})


def _overridden(config: Config, overrides: list[str], prog: str) -> Config:
    """The settings with the overrides of the command line; tyro's box of complaints becomes one line."""
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return tyro.cli(Config, default=config, args=overrides, prog=prog, description=SETTINGS)
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        _, *lines = (line.strip("│| ") if re.search(r"\w", line) else "" for line in box.getvalue().splitlines())
        complaint, *rest = (part.replace("\n", " ") for part in re.split(r"\n{2,}", "\n".join(lines).strip()))
        meant = [name for name in re.findall(r"--[a-z][\w.-]*", rest[0]) if rest[0].startswith("Perhaps")] if rest else []
        hint = f"perhaps you meant {' or '.join(meant)}; " if meant else ""
        raise UserError(f"{complaint}; {hint}{prog} --help lists all settings") from None


def _keep_compiled_programs() -> None:
    """Compile once per machine: JAX's persistent cache."""
    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _silence_libraries() -> None:
    """What libraries say of their own affairs; a cache's file that a killed process left half written is compiled again."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")


if __name__ == "__main__":
    sys.exit(main())
