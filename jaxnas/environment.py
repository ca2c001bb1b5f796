"""What made a run: the machine and the versions."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import jax

PACKAGES = ("jaxnas", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "onnx", "onnxruntime")


def environment() -> dict[str, str]:
    """Machine, cores, Python, accelerator and package versions, as strings for a person to read."""
    return {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "jax devices": ", ".join(sorted({str(device.device_kind) for device in jax.devices()})),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
