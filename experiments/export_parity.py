"""Question: does an exported network compute what JAX computes, whatever the genome?

Random subnets of a space with random weights, norms and biases, their statistics recalibrated by
the supernet's masks. Each is extracted, exported, checked by onnx.checker, and run by ONNX Runtime
and by JAX on the same 8 images.

Command: python experiments/export_parity.py attentive_nas@192=10 ofa_mobilenet_v3@192=10
"""

import sys
from collections import Counter

import jax
import numpy as np
import onnx

from jaxnas.config import SPACES
from jaxnas.export.onnx import emit
from jaxnas.export.proof import Proof, prove
from jaxnas.progress import progress
from jaxnas.spaces.space import Space
from jaxnas.supernets.build import build
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.training.recalibrate import statistics

IMAGES = 8
CALIBRATION = 32


def random_weights(net: Supernet) -> Params:
    """An initialisation with noise on every array.

    As published it would give all subnets nearly the same logits.
    """
    params = net.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.device_get(
        structure.unflatten(
            [
                leaf + 0.1 * jax.random.normal(key, leaf.shape)
                for key, leaf in zip(keys, leaves, strict=True)
            ]
        )
    )


def drawn(space: Space, count: int, size: int | None) -> np.ndarray:
    """Random genomes, of one resolution if it is given."""
    genomes = np.array(space.sample(jax.random.key(2), count))
    if size is not None:
        genomes = space.at_resolution(genomes, space.resolutions.index(size))
    return genomes


def prove_all(name: str, count: int, size: int | None) -> list[tuple[Proof, Counter]]:
    """Each network's proof and the operators of its file."""
    space = SPACES[name](32, 3, 10)  # the published spaces have resolutions of their own
    net = build(space)
    params = random_weights(net)
    norms = jax.jit(statistics, static_argnums=0)
    proofs = []
    with progress(name, count, 0) as advance:
        for genome in drawn(space, count, size):
            side = space.pixels(genome)
            images = np.random.default_rng(0).standard_normal(
                (IMAGES + CALIBRATION, side, side, 3), np.float32
            )
            stats = norms(net, params, genome, images[IMAGES:])
            subnet = net.extract(params, genome, jax.device_get(stats))
            model = emit(subnet, side, side, 3)
            onnx.checker.check_model(model, full_check=True)
            operators = Counter(node.op_type for node in onnx.load_from_string(model).graph.node)
            proofs.append((prove(model, subnet, images[:IMAGES]), operators))
            advance(1)
    return proofs


def main() -> None:
    """Prints a line per space."""
    for argument in sys.argv[1:]:
        which, count = argument.split("=")
        name, _, size = which.partition("@")
        proofs = prove_all(name, int(count), int(size) if size else None)
        differences, largest = (
            [getattr(proof, name) for proof, _ in proofs]
            for name in ("largest_difference", "largest_logit")
        )
        print(
            f"{which}: {len(proofs)} networks, largest logit difference {max(differences):.1e} "
            f"(median {np.median(differences):.1e}), largest logits {min(largest):.1f} to "
            f"{max(largest):.1f}, top-1 agreement "
            f"{min(proof.top1_agreement for proof, _ in proofs):.2%}, Transpose operators "
            f"{sum(ops['Transpose'] for _, ops in proofs)}"
        )


if __name__ == "__main__":
    main()
