"""Measurements that are kept and used again, under the hash of all that decides them.

One JSON file for each, in the folder `measurements` of jaxnas's cache: the network's SHA-256, the
device's `identity` (machine, versions, threads, ...) and the `Measurement`. A file is written whole
or not at all, so processes can share the folder; one that is damaged is a measurement to be made
again, never an error.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from jaxnas.hardware.device import Device, ExportedModel, Identified, Measurement
from jaxnas.records.cache import digest, made_cache_folder, warn_of_cache


@dataclass(frozen=True)
class Stored:
    """A device that makes each measurement once.

    What it, or an equal one, has measured before is `reused`.

    Failures are not kept, for another attempt. Neither is anything of a device that cannot say what
    decides its figures.
    """

    device: Device

    @property
    def name(self) -> str:
        return self.device.name

    def measure(self, model: ExportedModel) -> Measurement:
        """The stored measurement, or else a new one.

        That is stored where the cache can be written.
        """
        found = self.find(model)
        if found is not None:
            return found
        measurement = self.device.measure(model)
        origin = self._origin(model)
        if origin is not None and not measurement.failure:
            _write(_path(origin), origin, measurement)
        return measurement

    def find(self, model: ExportedModel) -> Measurement | None:
        """The stored measurement, None where there is none."""
        origin = self._origin(model)
        found = None if origin is None else _read(_path(origin))
        return None if found is None else replace(found, reused=True)

    def identity(self) -> Mapping[str, str | int | float] | None:
        """The device's; None where it has none, or cannot tell now."""
        return self.device.identity() if isinstance(self.device, Identified) else None

    def _origin(self, model: ExportedModel) -> dict[str, str | int | float] | None:
        """All that decides the figures; None where it is not known, or the model cannot be read."""
        identity = self.identity()
        if identity is None:
            return None
        with suppress(OSError):
            data = model.read()
            return {**identity, "model": hashlib.sha256(data).hexdigest(), "turn": model.turn}
        return None


def _path(origin: dict[str, str | int | float]) -> Path | None:
    folder = made_cache_folder("measurements")
    return None if folder is None else folder / f"{digest(origin)}.json"


def _read(path: Path | None) -> Measurement | None:
    if path is None:
        return None
    try:
        record = json.loads(path.read_bytes())
        return (
            Measurement(**record["measurement"])
            if record.pop("checksum") == digest(record)
            else None
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _write(
    path: Path | None, origin: dict[str, str | int | float], measurement: Measurement
) -> None:
    if path is None:
        return
    record = {"origin": origin, "measurement": asdict(measurement)}
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(
            json.dumps({**record, "checksum": digest(record)}) + "\n", encoding="utf-8"
        )
        os.replace(partial, path)
    except OSError as error:
        warn_of_cache(error)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
