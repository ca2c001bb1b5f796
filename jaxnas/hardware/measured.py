"""Measurements that are kept and used again, under all that decides them.

The cache has a file for each `identity` of a device (machine, versions, threads, ...); in it, a
`Measurement` for each network.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from jaxnas.hardware.device import Device, ExportedModel, Identified, Measurement
from jaxnas.records.cache import Store, digest


@dataclass(frozen=True)
class Stored:
    """A device that makes each measurement once.

    What it, or an equal one, has measured before is `reused`.

    Failures are not kept, for another attempt. Neither is anything of a device that cannot say what
    decides its figures.
    """

    device: Device
    _stores: dict[str, Store] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.device.name

    def measure(self, model: ExportedModel) -> Measurement:
        """The stored measurement, or else a new one, which is stored."""
        found = self.find(model)
        if found is not None:
            return found
        measurement = self.device.measure(model)
        identity = self.identity()
        key = _key(model)
        if identity is not None and key is not None and not measurement.failure:
            record = {"identity": dict(identity), "measurement": asdict(measurement)}
            self._store(identity).put({key: record})
        return measurement

    def find(self, model: ExportedModel) -> Measurement | None:
        """The stored measurement, None where there is none."""
        identity = self.identity()
        key = _key(model)
        if identity is None or key is None:
            return None
        (record,) = self._store(identity).get([key])
        return None if record is None else replace(_measurement(record), reused=True)

    def identity(self) -> Mapping[str, str | int | float] | None:
        """The device's; None where it has none, or cannot tell now."""
        return self.device.identity() if isinstance(self.device, Identified) else None

    def _store(self, identity: Mapping[str, str | int | float]) -> Store:
        context = digest(identity)
        if context not in self._stores:
            self._stores[context] = Store("measurements", context)
        return self._stores[context]


def _key(model: ExportedModel) -> str | None:
    """The network and which of its measurements; None where the file cannot be read."""
    with suppress(OSError):
        return f"{hashlib.sha256(model.read()).hexdigest()} {model.turn}"
    return None


def _measurement(record: dict[str, Any]) -> Measurement:
    """Figures that are younger than the record are NaN."""
    known = {figure.name for figure in fields(Measurement)}
    return Measurement(
        **{name: value for name, value in record["measurement"].items() if name in known}
    )
