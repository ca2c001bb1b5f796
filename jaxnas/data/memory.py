"""Whether images fit into memory, asked before they are read."""

from pathlib import Path

from jaxnas.errors import UserError

MEMINFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")  # limits of control groups, version 2
GIB = 1 << 30


def available_memory() -> int | None:
    """Bytes that this process may still take.

    The machine's, or its container's where that has less; None where neither is told.
    """
    known = [size for size in (_machine(), _container()) if size is not None]
    return min(known, default=None)


def require_memory(what: str, needed: int, available: int | None) -> None:
    """Refuses what needs more bytes than there are, with both figures.

    Where it is not known what there is, nothing.

    Raises:
        UserError: it does not fit.
    """
    if available is not None and needed > available:
        raise UserError(
            f"{what} needs {needed / GIB:.3g} GiB of memory, there are {available / GIB:.3g}: "
            "take fewer or smaller images, or a machine with more memory"
        )


def _machine() -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="utf-8").splitlines()
        return next(
            int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _container() -> int | None:
    """What is left below the limit; pages of files that can be given back do not count as taken."""
    try:
        limit, taken = (
            int((CONTAINER / f"memory.{name}").read_text(encoding="utf-8"))
            for name in ("max", "current")
        )
        statistics = dict(
            line.split()
            for line in (CONTAINER / "memory.stat").read_text(encoding="utf-8").splitlines()
        )
        return limit - taken + int(statistics.get("inactive_file", 0))
    except (OSError, ValueError):  # no control groups, or no limit ("max")
        return None
