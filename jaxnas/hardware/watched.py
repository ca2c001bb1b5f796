"""A device of which only the networks' own failures are recorded.

A board that was unplugged, a driver that was upgraded or a host that hangs fails every network from
then on, and none of these failures is the network's. So the equipment's failures end the run, which
the same command continues once it is mended.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from jaxnas.errors import UserError
from jaxnas.hardware.device import Device, ExportedModel, Identified, Measurement

ATTEMPTS = 3  # at a network whose device is lost, before the run ends
PAUSE_S = 5.0  # between them: a cable, a reboot, a network that comes back
DOUBTS = 3  # failures of either's doing, since a network last ran, before the run ends


class Undecided(UserError):
    """A failure that may be the device's: no network has run on it yet that could tell.

    Nothing is to be recorded.
    """


@dataclass
class Watched:
    """A device that fails only where the network is to blame.

    A lost device (`Measurement.lost`) is asked three times. After a failure of either's doing
    (`Measurement.doubtful`) the device is given a network that it has run before, `proven` or the
    last that ran: if it runs, the failure was the other network's.
    """

    device: Device
    proven: Callable[[], ExportedModel | None] = lambda: None  # asked only where it is needed
    _last: ExportedModel | None = field(default=None, init=False)
    _doubts: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        return self.device.name

    def identity(self) -> Mapping[str, str | int | float] | None:
        """The device's; None where it has none, or cannot tell now."""
        return self.device.identity() if isinstance(self.device, Identified) else None

    def measure(self, model: ExportedModel) -> Measurement:
        """A measurement, or a failure of the network's own.

        Raises:
            UserError: the device is not there, or runs nothing any more.
            Undecided: the failure may be the device's.
        """
        measurement = self._asked(model)
        if measurement.doubtful:
            self._decide(measurement)
        elif not measurement.failure:
            self._last = model
            self._doubts = 0
        return measurement

    def _asked(self, model: ExportedModel) -> Measurement:
        """Neither a measurement nor a failure of a device that is not there."""
        measurement = _sensible(self.device.measure(model))
        for _ in range(ATTEMPTS - 1):
            if measurement.lost:
                time.sleep(PAUSE_S)
                measurement = _sensible(self.device.measure(model))
        if measurement.lost:
            raise self._stopped(f"is lost, at {ATTEMPTS} attempts", measurement)
        return measurement

    def _decide(self, measurement: Measurement) -> None:
        """Returns where the failure is the network's."""
        model = self._last or self.proven()
        if model is not None:
            proof = self._asked(model)
            if proof.failure:
                raise self._stopped("does not run any more what it ran before", proof)
            self._last = model
            self._doubts = 0
            return
        self._doubts += 1
        if self._doubts >= DOUBTS:
            raise self._stopped(f"has not run any of {DOUBTS} networks", measurement)
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
    """The measurement; a failure where it has none and its latency is none either."""
    if measurement.failure or 0 < measurement.latency_ms < math.inf:
        return measurement
    return replace(
        measurement,
        latency_ms=math.nan,
        failure=f"answer: a latency of {measurement.latency_ms} ms",
    )
