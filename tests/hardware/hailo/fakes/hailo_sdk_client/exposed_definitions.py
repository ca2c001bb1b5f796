import os
from enum import Enum

SUPPORTED_HW_ARCHS = (
    ["hailo10h", "hailo15h"]
    if "sdk5" in os.environ.get("HAILO_FAKE", "").split()
    else ["hailo8", "hailo8r", "hailo8l", "hailo15h"]
)


class States(Enum):
    UNINITIALIZED = "uninitialized"
    HAILO_MODEL = "hailo_model"
    QUANTIZED_MODEL = "quantized_model"
    COMPILED_MODEL = "compiled_model"


class InferenceContext(Enum):
    SDK_NATIVE = "sdk_native"
    SDK_FP_OPTIMIZED = "sdk_fp_optimized"
    SDK_QUANTIZED = "sdk_quantized"
    SDK_HAILO_HW = "sdk_hailo_hw"
