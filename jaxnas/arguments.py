"""What the command line may say.

`jaxnas COMMAND EXPERIMENT [--out DIR] [overrides]`, and the commands about a chip.
"""

import argparse
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from jaxnas.errors import UserError
from jaxnas.records.files import STAGES, made_by

COMMANDS = {"run": "run the whole job: every stage below, in order"} | {
    stage: f"{what}: {', '.join(made_by(stage))}" for stage, what in STAGES.items()
}
COMPARE = (
    "compare search algorithms over many seeds, on the supernet and predictor of a run: "
    "compare/compare.html; or finished runs with each other"
)
SEEDS = 30  # of a comparison
OPTIONS = {
    "compare": " [--algorithms A,B,...] [--seeds N] [--same-start] [--with RUN,...]"
    " [--reference X,Y,...] [--front FILE]",
}

CHIP_COMMANDS = {
    "inspect": (
        "what each block of a network asks of an analytic chip, or in analog memory how much noise "
        "each layer's weights have: a table, and a chart"
    ),
    "scale": (
        "all networks of a space of widths on a chip: the front of operations against efficiency"
    ),
}

LOOKING = {
    "list": "the names that settings know, and what they stand for: spaces, devices, algorithms",
    "show": "what a run has found: the networks chosen, and the front, under a budget if asked",
    "doctor": "whether this machine and a device are ready for a run, and how noisy they are",
    "new": "write a commented experiment file to begin with",
}
PRUNE = (
    "make the space of a searched run smaller by choices that its front does without: the space, "
    "its weights, and the front's networks"
)

PICK = (
    "train, export and measure other networks of a run's front: the most accurate within a budget"
)

MANUAL = """\
EXPERIMENT is a Python file that defines `config`, a jaxnas.config.Config, or the
directory of a run, whose settings are then taken up again. A file may define
others beside it: FILE.py:paper is its `paper`. quickstart comes with jaxnas.

Every command works on a run directory, and goes on where an earlier one stopped,
however it stopped; the same command line resumes. With other settings `run` does
again what they decide, and keeps what was there in DIR/earlier; those that decide
the supernet are refused, and so are settings that nothing would read. Where the
images, weights and TOML files lie may change. Nothing is written outside the run directory and the
cache of compiled programs, evaluations and measurements, JAXNAS_CACHE (default
~/.cache/jaxnas). JAXNAS_NATIVE=0 computes without kernels in C++.

Overrides name any setting, with dots:

  jaxnas run experiments/quickstart.py --out runs/short --train.epochs 5
  jaxnas run experiments/quickstart.py --latency-limit-ms 0.1
  jaxnas run experiments/quickstart.py --space mine.toml
  jaxnas run experiments/quickstart.py --device onnxruntime --until 3%
  jaxnas run experiments/quickstart.py --help        lists all settings

Exit codes: 0 done, 2 a mistake that you can mend (one line says how), 130 Ctrl-C,
143 SIGTERM. Either signal has a training save first; a second one ends it at once.
"""


class _Version(argparse.Action):
    """Prints the version; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"jaxnas {version('jaxnas')}")
        parser.exit()


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number between these."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, got {text[:60]!r}"
            )
        return int(text)

    return read


def _milliseconds(text: str) -> float:
    try:
        limit_ms = float(text)
    except ValueError:
        limit_ms = math.nan
    if not 0 < limit_ms < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text[:60]!r}")
    return limit_ms


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, got {text[:60]!r}")
    return share


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(
            f"must be finite numbers with commas between, got {text[:60]!r}"
        )
    return found


def _algorithms(text: str) -> list[str]:
    """Names with commas between; one before a number belongs to a list of numbers.

    >>> _algorithms("nsga2,evosax:PSO:weights=2,1,moead")
    ['nsga2', 'evosax:PSO:weights=2,1', 'moead']
    """
    return re.split(r",(?![-+.]?[0-9])", text)


class _Parser(argparse.ArgumentParser):
    """Complains in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of the command, and the overrides."""
    parser = _Parser(
        prog="jaxnas",
        description=(
            "Hardware-aware neural architecture search: from images and a device to exported, "
            "measured networks."
        ),
        epilog=MANUAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, summary in {**COMMANDS, "compare": COMPARE}.items():
        options = OPTIONS.get(name, "")
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
        command.add_argument(
            "experiment", metavar="EXPERIMENT", help="an experiment file, or the directory of a run"
        )
        command.add_argument(
            "--out",
            metavar="DIR",
            help="the run directory (default: runs/NAME, or the run directory given)",
        )
        if name == "compare":
            command.add_argument(
                "--algorithms",
                metavar="A,B,...",
                type=_algorithms,
                help="beside random search (default: the experiment's own), each with settings "
                "of its own as it likes: nsga2:mutation=0.2,nsga2:mutation=0.5",
            )
            command.add_argument(
                "--seeds",
                metavar="N",
                type=_whole(1, 10_000),
                help=f"searches of each algorithm (default: {SEEDS})",
            )
            command.add_argument(
                "--same-start",
                action="store_true",
                help="all searches of a seed begin with the same random candidates",
            )
            command.add_argument(
                "--reference",
                metavar="X,Y,...",
                type=_numbers,
                help="the reference point of hypervolume, in the order of the objectives "
                "(default: the worst values of the first seed's random search)",
            )
            command.add_argument(
                "--front",
                metavar="FILE",
                help="the true front, a CSV file with a column for each objective: then regret "
                "and IGD+ are told, too",
            )
            command.add_argument(
                "--with",
                dest="others",
                metavar="RUN,...",
                type=lambda text: text.split(","),
                help="in place of algorithms compare the fronts of finished runs, the networks "
                "that each evaluated and the seconds that it took: a joint search beside a "
                "two-stage one, with several seeds of each",
            )
        if name == "report":
            command.add_argument(
                "--watch",
                action="store_true",
                help="keep the report up to date while the run goes on, until it is finished",
            )
            command.add_argument(
                "--figures",
                action="store_true",
                help="write its figures as SVG, PDF and PNG, too: DIR/figures",
            )
        if name != "compare":
            command.add_argument(
                "--distributed",
                metavar="auto",
                help="this is one of several processes, each started with the same command, which "
                "train and search together and of which the first writes: auto where JAX finds "
                "them itself (SLURM, TPU, MPI, Kubernetes), else HOST:PORT,COUNT,INDEX",
            )
        if name in ("run", "profile"):
            command.add_argument(
                "--device", metavar="NAME", help="what measures, short for --profile.device NAME"
            )
            command.add_argument(
                "--until", metavar="3%", help="measure until fresh subnets are predicted this well"
            )
        if name == "profile":
            command.add_argument(
                "--per-layer",
                action="store_true",
                help="then fit a latency table of each part of the networks: layers.csv",
            )
    _add_chip_commands(commands)
    _add_looking_commands(commands)
    _add_pick(commands)
    _add_prune(commands)
    summary = "time jaxnas against its peers; needs a checkout"
    bench = commands.add_parser(
        "bench", help=summary, description=f"jaxnas bench: {summary}.", add_help=len(arguments) < 3
    )
    bench.add_argument(
        "experiment",
        metavar="NAME",
        help="experiments/bench/NAME.py; jaxnas bench NAME --help lists its options",
    )
    bench.set_defaults(out=None)
    return parser.parse_known_args(arguments)


def _add_looking_commands(commands: Any) -> None:
    named, show, doctor, new = (
        commands.add_parser(
            name, help=summary, description=f"jaxnas {name}: {summary}.", allow_abbrev=False
        )
        for name, summary in LOOKING.items()
    )
    named.add_argument(
        "experiment",
        metavar="KIND",
        nargs="?",
        help="spaces, devices, ..., or a name, such as ppo (default: all kinds)",
    )
    show.add_argument("experiment", metavar="RUN", help="the directory of a run")
    show.add_argument(
        "--under", metavar="3ms", help="the most accurate networks within: 3ms, or mmacs=20"
    )
    show.add_argument(
        "-n", dest="count", metavar="N", type=_whole(1, 10_000), help="networks of the front (20)"
    )
    doctor.set_defaults(experiment="")
    doctor.add_argument(
        "--device", metavar="NAME", help="as --profile.device (default: onnxruntime)"
    )
    new.add_argument("experiment", metavar="FILE", help="my.py")
    for parser in (named, show, doctor, new):
        parser.set_defaults(out=None)


def _add_pick(commands: Any) -> None:
    pick = commands.add_parser(
        "pick", help=PICK, description=f"jaxnas pick: {PICK}.", allow_abbrev=False
    )
    pick.add_argument("experiment", metavar="RUN", help="the directory of a run that has searched")
    pick.add_argument(
        "--under", metavar="3ms", required=True, help="the most that they take: 3ms, or mmacs=20"
    )
    pick.add_argument(
        "-n", dest="count", metavar="N", type=_whole(1, 1000), default=3, help="networks (3)"
    )
    pick.set_defaults(out=None)


def _add_prune(commands: Any) -> None:
    prune = commands.add_parser(
        "prune", help=PRUNE, description=f"jaxnas prune: {PRUNE}.", allow_abbrev=False
    )
    prune.add_argument("experiment", metavar="RUN", help="the directory of a run that has searched")
    prune.add_argument(
        "--share",
        metavar="S",
        type=_share,
        default=0.5,
        help="of the networks, that is left at most (default: 0.5)",
    )
    prune.add_argument("--out", metavar="DIR", help="the folder to write (default: RUN/pruned)")


def _add_chip_commands(commands: Any) -> None:
    inspect, scale = (
        commands.add_parser(
            name, help=summary, description=f"jaxnas {name}: {summary}.", allow_abbrev=False
        )
        for name, summary in CHIP_COMMANDS.items()
    )
    inspect.add_argument(
        "experiment",
        metavar="GENOME",
        help="smallest, largest, or a choice for every gene: '0 2 1 ...'",
    )
    inspect.add_argument(
        "--space",
        metavar="NAME",
        default="mobilenet_v2:1",
        help="default: mobilenet_v2:1, MobileNetV2 as published",
    )
    inspect.add_argument(
        "--image-size",
        metavar="PX",
        type=_whole(1, 8192),
        default=32,
        help="of the images, for spaces that depend on it (32)",
    )
    inspect.add_argument(
        "--classes", metavar="N", type=_whole(1, 100_000), default=1000, help="default: 1000"
    )
    inspect.add_argument(
        "--resolution", metavar="PX", type=_whole(1, 8192), help="another than the genome's"
    )
    scale.add_argument(
        "experiment", metavar="SPACE", help="a space of at most 50 million networks: mobilenet_v2"
    )
    scale.add_argument(
        "--resolution", metavar="PX", type=_whole(1, 8192), default=160, help="default: 160"
    )
    scale.add_argument(
        "--limit-ms", metavar="MS", type=_milliseconds, help="only networks that are as fast"
    )
    for parser in (inspect, scale):
        parser.add_argument(
            "--device",
            metavar="NAME",
            default="raptor",
            help="raptor, raptor_small, or a .toml file (default: raptor)",
        )
        parser.add_argument(
            "--out", metavar="FILE", help="the picture, SVG (default: named after what it shows)"
        )
