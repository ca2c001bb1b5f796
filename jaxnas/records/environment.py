"""environment.json: what made a run, the machine and the versions."""

import os
import platform
from importlib.metadata import version

import jax

from jaxnas.hardware.machine import processor
from jaxnas.records.reading import reading
from jaxnas.records.run_directory import RunDirectory
from jaxnas.records.values import named, string

ENVIRONMENT = "environment.json"

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


def read_environment(run: RunDirectory) -> dict[str, str]:
    """The same, of the process that began the run."""
    with reading(run, ENVIRONMENT):
        values = named(run.read_json(ENVIRONMENT))
        return {name: string(values, name) for name in values}


def write_environment(run: RunDirectory) -> None:
    """Write what this process runs on."""
    run.write_json(ENVIRONMENT, environment())
