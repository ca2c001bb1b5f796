"""An exported network as an int8 network of ONNX Runtime.

Static quantisation, weights per channel.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import Array, Float
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from jaxnas.errors import UserError
from jaxnas.export.proof import EXACT_INT8

Images = Float[Array | np.ndarray, "n h w c"]


def quantise(model: bytes, calibration: Images) -> bytes:
    """The int8 twin of an ONNX file that `emit` wrote.

    It is calibrated on normalised images (NHWC, the model's size).

    Quantise-dequantise pairs around every operator; weights int8 per output channel, symmetric;
    activations uint8 per tensor, from the least to the most that they are on the images. Metadata
    are kept, with `precision` int8 and `without_vnni`, the session option that x86-64 processors
    without VNNI need for the accuracy stated.
    """
    if len(calibration) == 0:
        raise UserError("quantisation needs at least one calibration image, got none")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder, "int8.onnx")
        quantize_static(
            onnx.load_model_from_string(model),
            target,
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(target)
    properties = {one.key: one.value for one in onnx.load_model_from_string(model).metadata_props}
    properties |= {"precision": "int8", "without_vnni": "=".join(EXACT_INT8)}
    onnx.helper.set_model_props(quantised, dict(sorted(properties.items())))
    return quantised.SerializeToString(deterministic=True)


class _Reader(CalibrationDataReader):
    """The images one by one, as the model takes them."""

    def __init__(self, images: Images):
        self.batches = iter(
            np.ascontiguousarray(np.asarray(images, np.float32).transpose(0, 3, 1, 2))[:, None]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        image = next(self.batches, None)
        return None if image is None else {"image": image}


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises to optimise the model first, on the root logger.

    `emit` writes no operator to be optimised away.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
