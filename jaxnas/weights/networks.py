"""Networks that share one file of weights: beside the supernet's, each has its own statistics.

Such a file is a supernet's (`weights.trained`) with more in it, and serves as one.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxnas.data.preparation import Preparation
from jaxnas.errors import UserError
from jaxnas.networks.subnet import Arrays, Subnet
from jaxnas.spaces.genomes import from_text, to_text
from jaxnas.supernets.supernet import Params, Supernet, take
from jaxnas.types import Genome
from jaxnas.weights import trained
from jaxnas.weights.tensor_files import TensorFile

STATISTICS = ("mean", "var")
Members = Mapping[str, tuple[Genome | np.ndarray, Arrays]]  # by name: genome, statistics by path


def to_bytes(
    net: Supernet,
    params: Params,
    class_names: tuple[str, ...],
    prepared: Preparation,
    members: Members,
) -> bytes:
    """A safetensors file of the supernet, and of these networks' genomes and statistics."""
    arrays = {
        f"networks/{name}/{path}/{what}": np.asarray(found[what], np.float32, order="C")
        for name, (_, stats) in members.items()
        for path, found in stats.items()
        for what in STATISTICS
    }
    genomes = {name: to_text(np.asarray(genome)) for name, (genome, _) in members.items()}
    return trained.to_bytes(net, params, class_names, prepared, arrays, {"networks": genomes})


def load(file: str | os.PathLike[str], net: Supernet) -> dict[str, Subnet]:
    """The networks of such a file, by name. Their weights are views of one set of arrays.

    Raises:
        UserError: no such file; one of another space, or without networks; damaged.
    """
    params = jax.device_get(trained.load(file, net).params)
    with trained.opened_file(file) as (path, tensors):
        genomes = tensors.said("networks")
        if not isinstance(genomes, dict) or not genomes:
            raise UserError(f"{path} holds a supernet and no networks: name a file of jaxnas prune")
        return {
            name: _subnet(net, params, from_text(text), tensors, f"networks/{name}")
            for name, text in genomes.items()
        }


def _subnet(
    net: Supernet, params: Params, genome: np.ndarray, tensors: TensorFile, where: str
) -> Subnet:
    ops = net.ops(genome)
    stats: dict[str, Any] = {
        op.path: {
            what: _vector(tensors, f"{where}/{op.path}/{what}", op.c_out) for what in STATISTICS
        }
        for op in ops
        if op.norm
    }
    return Subnet(ops, take(params, ops), stats)


def _vector(tensors: TensorFile, name: str, size: Any) -> np.ndarray:
    found = tensors.array(name)
    if found.shape != (size,) or not np.isfinite(found).all():
        raise ValueError(f"{name} should be {size} finite numbers")
    return found
