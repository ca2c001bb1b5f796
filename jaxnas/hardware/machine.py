"""What this machine says of its processor: part of every measurement made on it."""

import platform
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BOARD = Path("/proc/device-tree/model")  # ARM boards: "Raspberry Pi 5 Model B Rev 1.0"
CORES = Path("/sys/devices/system/cpu")


def processor() -> str:
    """The model of processor, or of board."""
    with suppress(OSError):
        names = [
            line.split(":", 1)[1].strip()
            for line in CPUINFO.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        return names[0] if names else BOARD.read_text(encoding="utf-8").strip("\0\n ")
    return platform.processor() or platform.machine()


def int8_saturates() -> bool:
    """Whether ONNX Runtime's int8 sums, 16 bits wide, overflow here by default.

    On x86-64 without VNNI, or where it is not known.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    with suppress(OSError):
        return not {"avx512_vnni", "avx_vnni"} & set(CPUINFO.read_text(encoding="utf-8").split())
    return True


def clock() -> str:
    """What the fastest core runs at just now, "2445 MHz"; empty where the machine does not say."""
    mhz = [0.0]
    for path in CORES.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        with suppress(OSError, ValueError):
            mhz.append(float(path.read_text(encoding="utf-8")) / 1000)
    with suppress(OSError, ValueError):
        mhz += [
            float(line.split(":", 1)[1])
            for line in CPUINFO.read_text(encoding="utf-8").splitlines()
            if line.startswith("cpu MHz")
        ]
    return f"{max(mhz):.0f} MHz" if max(mhz) else ""
