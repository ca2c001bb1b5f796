"""Tells a network's failure from the device's, so that only the former is recorded.

An unplugged board, an upgraded driver or a hanging host fails every network from then on, though no
network is to blame. So a failure of the equipment ends the run. The same command continues the run
once the equipment is mended.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from jaxnas.errors import UserError
from jaxnas.hardware.device import Device, ExportedModel, Identified, Measurement

MAX_ATTEMPTS = 3  # to measure a network whose device is lost, before the run ends
PAUSE_S = 5.0  # between attempts: time for a cable, a reboot, a network that comes back
MAX_AMBIGUOUS = 3  # ambiguous failures since a network last ran, before the run ends


class Undecided(UserError):
    """An ambiguous failure on a device that has run no network yet: nothing is to be recorded."""


@dataclass
class Watched:
    """Wraps a device: its `measure` returns a failure only where the network is to blame.

    A lost device (`Measurement.lost`) gets three attempts. An ambiguous failure
    (`Measurement.ambiguous`) is decided by measuring a network that has run before, the last one or
    `proven`: if that runs, the failure was the other network's.
    """

    device: Device
    proven: Callable[[], ExportedModel | None] = lambda: None  # called only where it is needed
    _last: ExportedModel | None = field(default=None, init=False)
    _ambiguous: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        return self.device.name

    def identity(self) -> Mapping[str, str | int | float] | None:
        """The device's; None where it has none, or cannot tell now."""
        return self.device.identity() if isinstance(self.device, Identified) else None

    def measure(self, model: ExportedModel) -> Measurement:
        """A measurement, or a failure that the network caused.

        Raises:
            UserError: the device is not there, or no longer runs anything.
            Undecided: the device may have caused the failure.
        """
        measurement = self._attempted(model)
        if measurement.ambiguous:
            self._decide(measurement)
        elif not measurement.failure:
            self._last = model
            self._ambiguous = 0
        return measurement

    def _attempted(self, model: ExportedModel) -> Measurement:
        """Measures, again while the device is lost; a `UserError` if it stays lost."""
        measurement = _sensible(self.device.measure(model))
        for _ in range(MAX_ATTEMPTS - 1):
            if measurement.lost:
                time.sleep(PAUSE_S)
                measurement = _sensible(self.device.measure(model))
        if measurement.lost:
            raise self._stopped(f"is lost, at {MAX_ATTEMPTS} attempts", measurement)
        return measurement

    def _decide(self, measurement: Measurement) -> None:
        """Returns if the network caused the failure, raises if the device did or may have."""
        model = self._last or self.proven()
        if model is not None:
            proof = self._attempted(model)
            if proof.failure:
                raise self._stopped("does not run any more what it ran before", proof)
            self._last = model
            self._ambiguous = 0
            return
        self._ambiguous += 1
        if self._ambiguous >= MAX_AMBIGUOUS:
            raise self._stopped(f"has not run any of {MAX_AMBIGUOUS} networks", measurement)
        raise Undecided(
            f"the device {self.name} has run no network yet, and this may be its doing "
            f"({measurement.failure})"
        )

    def _stopped(self, what: str, measurement: Measurement) -> UserError:
        advice = (
            "nothing of it is recorded as the network's; mend the device and run the same command "
            "again"
        )
        return UserError(f"the device {self.name} {what} ({measurement.failure}): {advice}")


def _sensible(measurement: Measurement) -> Measurement:
    """The measurement; a failure if its latency is not a positive, finite number."""
    if measurement.failure or 0 < measurement.latency_ms < math.inf:
        return measurement
    return replace(
        measurement,
        latency_ms=math.nan,
        failure=f"answer: a latency of {measurement.latency_ms} ms",
    )
