"""The names of `import jaxnas`, each from the module where it lies."""

from jaxnas.algorithms.algorithm import Algorithm
from jaxnas.algorithms.indicators import hypervolume
from jaxnas.algorithms.loop import Archive, search
from jaxnas.algorithms.nsga2 import NSGA2
from jaxnas.algorithms.pareto import front, rank
from jaxnas.algorithms.random_search import RandomSearch
from jaxnas.config import Config, DataConfig, PredictConfig, ProfileConfig, SearchConfig
from jaxnas.data.augment import Augmentation
from jaxnas.data.dataset import Dataset
from jaxnas.errors import UserError
from jaxnas.export.onnx import emit as export_onnx
from jaxnas.export.proof import prove
from jaxnas.hardware.device import Device, ExportedModel, Measurement
from jaxnas.hardware.onnxruntime import OnnxRuntime
from jaxnas.networks.costs import Costs, Layers, macs, params, peak_activation_bytes, weight_bytes
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Subnet
from jaxnas.records.run_directory import RunDirectory
from jaxnas.results import Run, load, run
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.mobilenet import MobileNet, Stage, mobilenet_space
from jaxnas.spaces.published import (
    attentive_nas,
    attentive_nas_cifar,
    cifar,
    ofa_mobilenet_v3,
    ofa_mobilenet_v3_cifar,
    residual,
    tiny,
)
from jaxnas.spaces.space import Space
from jaxnas.supernets.build import build as build_supernet
from jaxnas.supernets.supernet import Supernet
from jaxnas.table import Table
from jaxnas.training.finetune import FinetuneConfig
from jaxnas.training.method import TrainConfig

__all__ = [
    "NSGA2",
    "Algorithm",
    "Archive",
    "Augmentation",
    "Config",
    "Costs",
    "DataConfig",
    "Dataset",
    "Device",
    "ExportedModel",
    "FinetuneConfig",
    "Gene",
    "Layers",
    "Measurement",
    "MobileNet",
    "OnnxRuntime",
    "Op",
    "PredictConfig",
    "ProfileConfig",
    "RandomSearch",
    "Run",
    "RunDirectory",
    "SearchConfig",
    "Space",
    "Stage",
    "Subnet",
    "Supernet",
    "Table",
    "TrainConfig",
    "UserError",
    "attentive_nas",
    "attentive_nas_cifar",
    "build_supernet",
    "cifar",
    "export_onnx",
    "front",
    "hypervolume",
    "load",
    "macs",
    "mobilenet_space",
    "ofa_mobilenet_v3",
    "ofa_mobilenet_v3_cifar",
    "params",
    "peak_activation_bytes",
    "prove",
    "rank",
    "residual",
    "run",
    "search",
    "tiny",
    "weight_bytes",
]
