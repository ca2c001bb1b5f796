"""A stand-in for Hailo's Dataflow Compiler 3.33; see README.md beside it."""

import os

FAULTS = os.environ.get("HAILO_FAKE", "").split()
__version__ = "5.1.0+simulated" if "sdk5" in FAULTS else "3.33.0+simulated"

if "numpy" in FAULTS:
    raise ImportError("numpy.core.multiarray failed to import: the compiler needs numpy==1.26.4")

from .exposed_definitions import InferenceContext, States  # noqa: E402
from .runner import ClientRunner  # noqa: E402

__all__ = ["ClientRunner", "InferenceContext", "States"]
