"""Read the log of Hailo's Dataflow Compiler: contexts, utilisation, warnings.

Only the log has the utilisation. The lines are those of public logs of versions 3.29 to 3.34; what
a log does not say is None or NaN, never zero.
"""

import math
import re
from contextlib import suppress
from dataclasses import dataclass

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FLOW = re.compile(r"Using (Single|Multi)-context flow")
_PARTITION = re.compile(r"(?:Found valid|Applying selected) partition to (\d{1,6}) contexts")
_TOTAL = re.compile(r"\|\s*Total\s*" + r"\|\s*([\d.,]+)\s*%\s*" * 3 + r"\|")
_SNR = re.compile(r"SNR:\s*(-?[\d.,]+)\s*dB")
_TIME = re.compile(r"\((allocation|compilation) time: ([^)]*)\)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
WARNINGS = {
    "Reducing optimization level to 0": (
        "the optimisation level was lowered to 0: fewer than 1024 images, or no GPU"
    ),
    "calibration set seems to not be normalized": "the calibration set seems not to be normalised",
}


@dataclass(frozen=True)
class Utilisation:
    """Shares of a context's resources in use, 0 to 1."""

    control: float
    compute: float
    memory: float


@dataclass(frozen=True)
class CompilerLog:
    """What a log says."""

    contexts: int | None  # parts that the network was cut into: 1 is a whole network on the chip
    utilisation: tuple[Utilisation, ...]  # of each context
    snr_db: float  # of quantisation, the worst output's; 10 and more is called good
    allocation_seconds: float
    compilation_seconds: float
    warnings: tuple[str, ...]

    def highest(self) -> Utilisation:
        """The highest share of any context, resource by resource.

        NaN where the log has no table.
        """
        columns = [
            [getattr(one, name) for one in self.utilisation]
            for name in ("control", "compute", "memory")
        ]
        return Utilisation(*(max(column, default=math.nan) for column in columns))


def parse_log(text: str) -> CompilerLog:
    """Read what a compiler printed, also one that was killed.

    >>> log = parse_log("[info] Using Single-context flow\\n"
    ...                 "[info] | Total     | 59.4%  | 55,9% | 33.5%  |\\n"
    ...                 "[info] Successful Mapping (allocation time: 4m 25s)\\n")
    >>> log.contexts, log.utilisation, log.allocation_seconds
    (1, (Utilisation(control=0.594, compute=0.559, memory=0.335),), 265.0)
    """
    text = _COLOUR.sub("", text)
    contexts = _contexts(text)
    totals = [
        Utilisation(*(round(_number(cell) / 100, 6) for cell in row))
        for row in _TOTAL.findall(text)
    ]
    times = {what: _seconds(time) for what, time in _TIME.findall(text)}
    return CompilerLog(
        contexts=contexts,
        # Those before are of attempts.
        utilisation=tuple(totals[-contexts:] if contexts else totals),
        snr_db=min(map(_number, _SNR.findall(text)), default=math.nan),
        allocation_seconds=times.get("allocation", math.nan),
        compilation_seconds=times.get("compilation", math.nan),
        warnings=tuple(message for sign, message in WARNINGS.items() if sign in text),
    )


def _contexts(text: str) -> int | None:
    """The contexts of the flow that was used last.

    Of several, those of the last partition: their number grows during the search.
    """
    flows = _FLOW.findall(text)
    if flows and flows[-1] == "Single":
        return 1
    partitions = _PARTITION.findall(text)
    return int(partitions[-1]) if partitions else None


def _number(text: str) -> float:
    """A number of a log, perhaps with a decimal comma; NaN where it is none."""
    with suppress(ValueError):
        return float(text.replace(",", "."))
    return math.nan


def _seconds(text: str) -> float:
    """
    >>> _seconds("1h 2m 3s"), _seconds("26m 8s 215ms"), _seconds("soon")
    (3723.0, 1568.215, nan)
    """
    parts = re.findall(r"([\d.]+)\s*(h|ms|m|s)\b", text)
    return sum(_number(number) * _UNITS[unit] for number, unit in parts) if parts else math.nan
