"""The records of a TensorFlow data set's training split, each read when its image is needed."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, UInt8

from jaxnas.data.streamed import Streamed
from jaxnas.errors import UserError

CHUNK = 1000  # labels that are read at a time


@dataclass(frozen=True, eq=False)
class Records:
    """Images by number, some of a split's: a `Source`."""

    title: str
    records: Any  # array_record's, bytes by number
    features: Any
    rows: Int64[np.ndarray, "n"]
    shape: tuple[int, ...]

    def read(self, row: int) -> UInt8[np.ndarray, "height width channels"]:
        record = self.records.__getitems__([int(self.rows[row])])[0]
        image = self.features.deserialize_example_np(record)["image"]
        check_shape(f"{self.title}: train", image.shape, self.shape)
        return image

    def name(self, row: int) -> str:
        return f"record {self.rows[row]}"


def labels_of(source: Any) -> Int32[np.ndarray, "n"]:
    """The labels of a split, without a decoded image."""
    from tensorflow_datasets import decode

    skipping = {"image": decode.SkipDecoding()}
    features = source.dataset_info.features
    labels = np.empty(len(source), np.int32)
    for start in range(0, len(source), CHUNK):
        rows = range(start, min(start + CHUNK, len(source)))
        for row, record in zip(rows, source.data_source.__getitems__(rows), strict=True):
            labels[row] = features.deserialize_example_np(record, decoders=skipping)["label"]
    return labels


def streamed_records(
    title: str, source: Any, rows: np.ndarray, labels: np.ndarray, workers: int | None
) -> Streamed:
    """These records of a split. The data set's name, version and size identify them."""
    info = source.dataset_info
    shape = source[int(rows[0])]["image"].shape
    records = Records(title, source.data_source, info.features, rows, shape)
    facts = info.full_name, len(source), info.splits["train"].num_bytes, rows.tolist()
    identity = hashlib.sha256(repr(facts).encode()).hexdigest()
    return Streamed(title, records, labels, shape, identity, workers)


def check_shape(where: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuses an image of another size than the first."""
    if shape != expected:
        raise UserError(
            f"{where} images must all have one size, got {expected} and {shape}: resize them or "
            "choose another data set"
        )
