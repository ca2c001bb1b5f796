"""`jaxnas doctor`: whether this machine and a device are ready for a run."""

import os
import shutil
from dataclasses import replace

import jax

from jaxnas.baselines.catalogue import init
from jaxnas.config import ProfileConfig, make_device
from jaxnas.errors import UserError
from jaxnas.export.onnx import emit
from jaxnas.hardware.device import Device, ExportedModel, check_reachable
from jaxnas.hardware.timing import NOISE_BOUND
from jaxnas.native import library
from jaxnas.records.cache import cache_folder
from jaxnas.records.environment import environment
from jaxnas.report.words import aligned, percent, significant
from jaxnas.spaces.published import tiny

ROUNDS = 5
FREE_GIB = 2.0  # less, and a run of this project's size may fill the disk
PIXELS = 32


def run_doctor(device: str | None) -> None:
    """Print what a run would find here; a `UserError` where the device cannot measure."""
    rows = [*environment().items(), ("convolutions on a CPU", _convolutions()), *_places()]
    print("\n".join(aligned([(f"{name}:", text) for name, text in rows])))
    settings = replace(ProfileConfig(), **({} if device is None else {"device": device}))
    made = make_device(settings)
    check_reachable(made)
    print(f"\n{made.name}: {noise(made)}")


def _convolutions() -> str:
    """Who computes them."""
    if library.available():
        return f"kernels in C++, built by {library.compiler()}"
    if not library.asked_for():
        return "XLA; JAXNAS_NATIVE=0 leaves the faster kernels in C++ away"
    if library.compiler() is None:
        return "XLA; a C++ compiler (g++, clang++ or CXX) would make training faster"
    return "XLA"


def _places() -> list[tuple[str, str]]:
    """Where a run is written and what is kept between runs, with the space that is left."""
    found = []
    for name, folder in (("runs are written to", os.getcwd()), ("cache", str(cache_folder()))):
        there = folder
        while not os.path.exists(there):
            there = os.path.dirname(there)
        free = shutil.disk_usage(there).free / 2**30
        allowed = os.access(there, os.W_OK)
        text = f"{folder}, {free:.1f} GiB free"
        text += "" if allowed else "; it cannot be written: choose another"
        text += "" if free > FREE_GIB else f"; less than {FREE_GIB:g}: a run may not fit"
        found.append((name, text))
    return found


def noise(device: Device) -> str:
    """A small network, measured a few times: how fast, and how far the measurements are apart.

    Raises:
        UserError: the device does not run it.
    """
    space = tiny(PIXELS, 3, 10)
    subnet = init(jax.random.key(0), space.ops(space.smallest))
    model = emit(subnet, PIXELS, PIXELS, 3)
    layers = space.layers(space.smallest)
    found = []
    for turn in range(ROUNDS):
        one = device.measure(ExportedModel(model, space.smallest, turn, layers))
        if one.failure:
            raise UserError(f"{device.name} does not run a small network: {one.failure}")
        found.append(one)
        if one.simulated:
            return (
                f"simulated, {significant(one.latency_ms)} ms for the smallest network of tiny "
                f"({one.runtime})"
            )
    times = sorted(one.latency_ms for one in found)
    apart = times[-1] / times[0] - 1
    noisy = "; stop what else runs there, or measure in more rounds" * (apart > NOISE_BOUND)
    return (
        f"{found[0].runtime} on {found[0].processor or 'an unnamed processor'}; the smallest "
        f"network of tiny takes {significant(times[0])} ms, {ROUNDS} measurements are "
        f"{percent(apart)} apart{noisy}"
    )
