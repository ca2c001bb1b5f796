"""What made a run: the machine and the versions."""

import os
import platform
from importlib.metadata import version

import jax

from jaxnas.hardware.machine import processor

PACKAGES = (
    "jaxnas",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "onnx",
    "onnxruntime",
)


def environment() -> dict[str, str]:
    """Machine, cores, Python, accelerator and package versions, as strings for a person to read."""
    return {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "jax devices": ", ".join(sorted({str(device.device_kind) for device in jax.devices()})),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
