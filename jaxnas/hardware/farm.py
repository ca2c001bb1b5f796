"""Several devices of one kind that measure side by side."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition

from jaxnas.errors import UserError
from jaxnas.hardware.device import Device, ExportedModel, Measurement, failed_measurement
from jaxnas.hardware.measured import Stored

MAX_ATTEMPTS = 3  # to measure one network, each on another device where there is one
MAX_LOSSES = 2  # in a row, after which a device is no longer used


class Farm:
    """Like devices that share out networks among them, one network per device at a time.

    All must have different names, and their measurements one runtime, processor and number of
    threads, so that figures of unlike devices are never mixed; each figure names the device that it
    is from. A network whose device is lost (`Measurement.lost`) is given to another, three times at
    most, and so is one whose failure may be the device's. A device that is lost twice in a row is
    asked no more.
    """

    def __init__(self, devices: Sequence[Device]):
        names = [device.name for device in devices]
        if not names or len(set(names)) < len(names):
            raise UserError(
                "a farm needs one or more devices of different names, got "
                f"{', '.join(names) or 'none'}: name each once"
            )
        self.devices = tuple(devices)
        self._free = deque(self.devices)
        self._alive = set(names)
        self._losses = dict.fromkeys(names, 0)
        self._first: Measurement | None = None  # what all others must be like
        self._changed = Condition()

    def measure(self, models: Iterable[ExportedModel]) -> Iterator[Measurement]:
        """A measurement of each model, in their order.

        It is a failure where the model does not run or no device is left. Models are taken up as
        devices become free, so they may be made one by one.

        Raises:
            UserError: two devices are not of one kind; their figures are not to be mixed.
        """
        stored = [
            device
            for device in self.devices
            if isinstance(device, Stored) and device.identity() is not None
        ]
        waiting: deque[Measurement | Future[Measurement]] = deque()
        with ThreadPoolExecutor(len(self.devices)) as pool:
            try:
                for model in models:
                    found = next((one for device in stored if (one := device.find(model))), None)
                    waiting.append(
                        pool.submit(self._measure, model) if found is None else self._alike(found)
                    )
                    while len(waiting) > 2 * len(self.devices):
                        yield _result(waiting.popleft())
                while waiting:
                    yield _result(waiting.popleft())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _measure(self, model: ExportedModel) -> Measurement:
        """By the first free device, and by another where that one is lost."""
        tried: list[str] = []
        measurement = failed_measurement(
            "farm", 0, "", ConnectionError("no device of the farm is left")
        )
        while len(tried) < MAX_ATTEMPTS and (device := self._take(tried)) is not None:
            tried.append(device.name)
            measurement = self._use(device, model)
            if not measurement.lost and not (
                measurement.ambiguous and len(tried) < len(self.devices)
            ):
                return self._alike(measurement)
        return measurement

    def _use(self, device: Device, model: ExportedModel) -> Measurement:
        lost = False
        try:
            measurement = device.measure(model)
            lost = measurement.lost
            return measurement
        finally:
            self._give_back(device, lost)

    def _take(self, tried: list[str]) -> Device | None:
        """The next free device, if possible one that was not tried; None where none is left."""
        with self._changed:
            while self._alive:
                wanted = self._alive.difference(tried) or self._alive
                device = next((one for one in self._free if one.name in wanted), None)
                if device is not None:
                    self._free.remove(device)
                    return device
                self._changed.wait()
        return None

    def _give_back(self, device: Device, lost: bool) -> None:
        with self._changed:
            self._losses[device.name] = self._losses[device.name] + 1 if lost else 0
            if self._losses[device.name] < MAX_LOSSES:
                self._free.append(device)
            else:
                self._alive.remove(device.name)
            self._changed.notify_all()

    def _alike(self, measurement: Measurement) -> Measurement:
        """The measurement, if its device is like the others'."""
        if not measurement.failure:
            with self._changed:
                self._first = self._first or measurement
                first = self._first
            if _kind(measurement) != _kind(first):
                kinds = " and ".join(
                    f"{one.device} ({', '.join(map(str, _kind(one)))})"
                    for one in (first, measurement)
                )
                raise UserError(
                    f"a farm must be of like devices, got {kinds}: measure each kind in a farm of "
                    "its own"
                )
        return measurement


def _result(one: Measurement | Future[Measurement]) -> Measurement:
    return one.result() if isinstance(one, Future) else one


def _kind(measurement: Measurement) -> tuple[str, str, int]:
    return measurement.runtime, measurement.processor, measurement.threads
