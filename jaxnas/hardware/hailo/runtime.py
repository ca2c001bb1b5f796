"""Run a HEF on a Hailo chip by `hailortcli`, and read its answers.

Only hailortcli reads the chip's own latency: from the chip's first interrupt for a frame to its
last, averaged, with one batch in flight at a time. For a network in one context it is longer than
the time between frames; for one in several it is shorter, because loading the first is left out.
"""

import csv
import json
import math
import re
from dataclasses import dataclass

from jaxnas.hardware.export_scripts import export_script
from jaxnas.hardware.failures import DeviceError, failure_line
from jaxnas.hardware.hailo.process import Ended, run
from jaxnas.hardware.ssh_connection import last_line

BATCHES = (1, 8)
MODES = ("streaming", "latency")
COMMANDS = 2 + len(BATCHES) * len(MODES)
FIRMWARE = re.compile(r"FIRMWARE|FW_|firmware", re.ASCII)
# What HailoRT prints, and the kind of failure that it is; the first that fits.
KINDS = {
    "version": ("DRIVER_VERSION", "DRIVER_INVALID_IOCTL", "different from library version"),
    "missing library": ("error while loading shared libraries",),
    "no device": (
        "Can't find hailo pcie class",
        "Failed to open device file",
        "OUT_OF_PHYSICAL_DEVICES",
        "DRIVER_NOT_INSTALLED",
        "driver is not installed",
        "driver not installed",
        "no connected",
        "Hailo devices not found",
    ),
    "hef": ("INVALID_HEF", "HEF_NOT_COMPATIBLE"),
}
# Of what a command prints that are read.
LONGEST_LINE = 2000
MOST_LINES = 2000


@dataclass(frozen=True)
class Board:
    """What `hailortcli fw-control identify --extended` says."""

    architecture: str  # "HAILO8L"; the board's name says Hailo-8 on a Hailo-8L
    version: str  # of firmware, driver and library, which must be one: "4.21.0"
    product: str
    clock: str  # "400MHz"


@dataclass(frozen=True)
class Run:
    """One run of a HEF, or why there is none; what was not measured is NaN."""

    fps: float = math.nan
    frames: int = 0
    latency_ms: float = math.nan  # the chip's
    overall_ms: float = math.nan  # from the host's sending to its receiving
    failure: str = ""


@dataclass(frozen=True)
class Runs:
    """All runs of one HEF on one board."""

    board: Board
    contexts: int | None
    runs: dict[tuple[str, int], Run]  # by mode and batch


@dataclass(frozen=True)
class Runtime:
    """The Hailo chip of the machine that `python`, a path or HOST:PATH, runs on.

    Each of four runs takes `seconds`.

    `grace` is what a command may take besides: it is stopped after that, and so is all that would
    have followed.
    """

    python: str
    architecture: str = "HAILO8L"
    seconds: int = 2
    grace: float = 60.0

    def measure(self, hef: bytes) -> Runs:
        """Run a HEF in both modes at both batch sizes.

        A single run that fails is a `Run` with a failure.

        Raises:
            DeviceError: there is no board, it is not of this architecture, the HEF is not for it,
                or nobody answers.
            OSError: the interpreter cannot be started or (ConnectionError) reached.
        """
        answers = self._answers(["model.hef"], {"model.hef": hef})
        board = read_board(_said(answers, "identify"))
        (architecture, contexts) = read_hef(_said(answers, "parse-hef"))
        for what, found in (("the device", board.architecture), ("the HEF", architecture)):
            if found != self.architecture:
                raise DeviceError(
                    f"architecture: {what} must be of {self.architecture}, got {found}"
                )
        return Runs(
            board,
            contexts,
            {
                (mode, batch): _run(answers, f"{mode}-{batch}")
                for mode in MODES
                for batch in BATCHES
            },
        )

    def board(self) -> Board:
        """The board, asked without a HEF. Raises as `measure`."""
        return read_board(_said(self._answers([], {}), "identify"))

    def _answers(self, arguments: list[str], files: dict[str, bytes]) -> dict[str, dict]:
        """What hailortcli answered to each command of tools/export/hailo_measure.py."""
        script = {"hailo_measure.py": export_script("hailo_measure.py").read_bytes()}
        options = ["--seconds", str(self.seconds), "--grace", f"{self.grace:g}"]
        limit = COMMANDS * (self.seconds + self.grace) + self.grace
        ended = run(
            self.python, ["hailo_measure.py", "out", *arguments, *options], files | script, limit
        )
        answers = _parsed(ended)
        if not answers:
            raise DeviceError(
                "no hailortcli: install HailoRT 4.x on the device's machine (Raspberry Pi OS: apt "
                "install hailo-all)"
            )
        return answers


def _parsed(ended: Ended) -> dict[str, dict]:
    """The answers by command, each of a code (None: it hung), an output and a CSV text."""
    try:
        answers = {answer["name"]: answer for answer in json.loads(ended.files["result.json"])}
        for answer in answers.values():
            if (
                type(answer["code"]) not in (int, type(None))
                or not isinstance(answer["output"], str)
                or not isinstance(answer["csv"], str)
            ):
                raise ValueError("an answer must have a code, an output and a csv")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        how = "ran out of time" if ended.code is None else f"ended with exit code {ended.code}"
        raise DeviceError(f"crash: hailo_measure.py {how}: {last_line(ended.output)}") from error
    return {
        name: answer | {"output": _shortened(answer["output"])} for name, answer in answers.items()
    }


def _shortened(text: str) -> str:
    """The output of a command without its endless lines."""
    return "".join(
        f"{line[:LONGEST_LINE]}\n"
        for line in text[: LONGEST_LINE * MOST_LINES].splitlines()[:MOST_LINES]
    )


def _said(answers: dict[str, dict], name: str) -> str:
    """The output of a command that must succeed."""
    answer = answers.get(name)
    if answer is None or answer["code"] is None:
        raise DeviceError(f"timeout: hailortcli {answer['name'] if answer else name} did not end")
    if answer["code"] != 0:
        raise DeviceError(explain(name, answer["output"]))
    return answer["output"]


def explain(name: str, output: str) -> str:
    """Kind and reason of a command that failed.

    HailoRT prints the cause first, then every function it passed through.

    >>> explain("identify", "[HailoRT] [error] CHECK failed - Driver version (4.18.0) is different "
    ...         "from library version (4.19.0)\\n[HailoRT CLI] [error] CHECK_SUCCESS failed with "
    ...         "status=HAILO_INVALID_DRIVER_VERSION(76)\\n")
    'version: hailortcli identify: CHECK failed - Driver version (4.18.0) is different from library version (4.19.0)'
    """  # noqa: E501
    errors = re.findall(r"\[error\]\s*(.*\S)", output)
    reason = errors[0] if errors else last_line(output) or "it said nothing"
    return f"{_kind(output)}: hailortcli {name}: {failure_line(reason)}"


def _kind(output: str) -> str:
    found = next(
        (kind for kind, signs in KINDS.items() if any(sign in output for sign in signs)), ""
    )
    return found or ("firmware" if FIRMWARE.search(output) else "runtime")


def read_board(text: str) -> Board:
    """The board that answered. Without a board hailortcli may print nothing and succeed."""
    fields = dict(re.findall(r"^([A-Z][\w ]*?):[ \t]*(.*?)[ \t\r\0]*$", text, re.MULTILINE))
    if not fields.get("Device Architecture"):
        raise DeviceError(
            "no device: hailortcli identify names no Device Architecture, it says "
            f"{last_line(text) or 'nothing'}"
        )
    version = fields.get("Firmware Version", "").partition(" ")[0]
    clock = fields.get("Neural Network Core Clock Rate", "")
    return Board(
        *map(
            failure_line,
            (fields["Device Architecture"], version, fields.get("Product Name", ""), clock),
        )
    )


def read_hef(text: str) -> tuple[str, int | None]:
    """Architecture and number of contexts that `hailortcli parse-hef` prints.

    >>> read_hef("Architecture HEF was compiled for: HAILO8L\\n"
    ...          "Network group name: net, Multi Context - Number of contexts: 7\\n")
    ('HAILO8L', 7)
    """
    architecture = re.search(
        r"^(?:Architecture HEF was compiled for|HEF Compatible for):\s*(.*\S)", text, re.MULTILINE
    )
    if architecture is None:
        raise DeviceError(
            "hef: hailortcli parse-hef names no architecture, it says "
            f"{last_line(text) or 'nothing'}"
        )
    several = re.search(r"Number of contexts:\s*(\d{1,6})\b", text)
    contexts = int(several[1]) if several else 1 if "Single Context" in text else None
    return failure_line(architecture[1]), contexts


def _run(answers: dict[str, dict], name: str) -> Run:
    answer = answers.get(name)
    if answer is None:
        return Run(failure=f"timeout: not run, for a command before {name} did not end")
    if answer["code"] is None:
        return Run(failure=f"timeout: hailortcli run ({name}) did not end")
    if answer["code"] != 0:
        return Run(failure=explain(f"run ({name})", answer["output"] or answer["csv"]))
    return read_run(answer["csv"])


def read_run(text: str) -> Run:
    """The CSV file of `hailortcli run`: a header and one row.

    The row of a failed run is shorter and has no line end.

    Empty cells are what was not measured. Rows that are cut off are a failure too: a figure may
    have lost its last digits.

    >>> read_run("net_name,status,status_description,fps,num_of_frames,hw_latency,"
    ...          "overall_latency\\nnet,0,HAILO_SUCCESS,409.5,819,2.44,\\n")
    Run(fps=409.5, frames=819, latency_ms=2.44, overall_ms=nan, failure='')
    """
    try:
        rows = list(csv.reader(text[: 2 * LONGEST_LINE].splitlines()))
    except csv.Error as error:
        return Run(failure=f"csv: {error}")
    if len(rows) != 2 or "status" not in rows[0]:
        return Run(
            failure=f"csv: a header with status and one row are needed, got {len(rows)} lines"
        )
    header, row = rows
    cells = dict(zip(header, row + [""] * (len(header) - len(row)), strict=False))
    if cells["status"] != "0":
        return Run(
            failure=failure_line(
                f"{_kind(text)}: hailortcli run: status {cells['status']} "
                f"{cells.get('status_description', '')}"
            )
        )
    if len(row) != len(header) or not text.endswith("\n"):
        return Run(failure=f"csv: cut off after {len(row)} of {len(header)} cells")
    try:
        fps, latency_ms, overall_ms = (
            float(cells.get(name) or math.nan) for name in ("fps", "hw_latency", "overall_latency")
        )
        frames = int(cells.get("num_of_frames") or 0)
    except ValueError as error:
        return Run(failure=f"csv: {failure_line(str(error))}")
    if frames < 0 or any(value < 0 or math.isinf(value) for value in (fps, latency_ms, overall_ms)):
        return Run(
            failure=(
                f"csv: figures must be finite and at least 0, got {fps}, {frames}, {latency_ms}, "
                f"{overall_ms}"
            )
        )
    return Run(fps, frames, latency_ms, overall_ms)
