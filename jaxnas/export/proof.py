"""Proof that an exported model computes what the subnet computes.

ONNX Runtime against JAX, image by image.
"""

import math
from dataclasses import dataclass

import jax
import numpy as np
import onnxruntime
from jaxtyping import Array, Float

from jaxnas.data.pixels import Pixels
from jaxnas.errors import UserError
from jaxnas.hardware.machine import int8_saturates
from jaxnas.networks.subnet import Subnet

# Without it int8 sums of 16 bits saturate on x86-64 processors that lack VNNI, and top-1 is another
# machine's luck. It costs time, and where there is VNNI it changes nothing, so latency is never
# measured with it.
EXACT_INT8 = ("session.x64quantprecision", "1")

BATCH = 256  # images that are turned into a runtime's input together


@dataclass(frozen=True)
class Proof:
    """How far an exported model's logits are from JAX's, over some images."""

    largest_difference: float  # of two logits; NaN if any logit is
    largest_logit: float  # of JAX, its magnitude
    top1_agreement: float  # share of images with the same top class
    images: int
    # Where the top classes differ: by how much JAX prefers its own; small is a tie.
    largest_margin: float = 0.0


def prove(
    model: bytes, subnet: Subnet, images: Float[Array, "n h w c"] | Float[np.ndarray, "n h w c"]
) -> Proof:
    """Run an ONNX file and its subnet on the same normalised float32 images, one by one."""
    if len(images) == 0:
        raise UserError("a proof needs at least one image, got none")
    expected = jax_logits(subnet, images)
    exported = onnx_logits(model, images)
    rows = np.arange(len(images))
    ours = expected.argmax(-1)
    theirs = exported.argmax(-1)
    return Proof(
        largest_difference=float(np.abs(exported - expected).max()),
        largest_logit=float(np.abs(expected).max()),
        top1_agreement=float(np.mean(ours == theirs)),
        images=len(images),
        largest_margin=float(np.max(expected[rows, ours] - expected[rows, theirs])),
    )


def require(proof: Proof, tolerance: float = 1e-4) -> None:
    """Raise `UserError` unless the logits differ by at most `tolerance` of the largest (or of 1).

    Top classes may differ only in ties.
    """
    limit = tolerance * max(1.0, proof.largest_logit)
    finite = math.isfinite(proof.largest_difference) and math.isfinite(proof.largest_logit)
    if not finite or proof.largest_difference > limit or proof.largest_margin > limit:
        raise UserError(
            f"the exported model must agree with JAX to {limit:.2g}, but over {proof.images} "
            f"images the largest difference is {proof.largest_difference:.2g} (largest logit "
            f"{proof.largest_logit:.3g}) and top-1 agreement {proof.top1_agreement:.2%}; export "
            "again, and report it if it persists"
        )


def jax_logits(
    subnet: Subnet, images: Float[Array, "n h w c"] | Float[np.ndarray, "n h w c"]
) -> Float[np.ndarray, "n classes"]:
    """Logits by JAX in full float32 (accelerators round the inputs of products by default)."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(_one_by_one(subnet, images))


@jax.jit
def _one_by_one(subnet: Subnet, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
    return jax.lax.map(lambda image: subnet(image[None])[0], images)


def onnx_logits(
    model: bytes, images: Float[Array, "n h w c"] | Float[np.ndarray, "n h w c"] | Pixels
) -> Float[np.ndarray, "n classes"]:
    """Logits by ONNX Runtime on the CPU; of an int8 network, the same on every processor.

    Of `Pixels` a batch at a time is prepared.
    """
    options = onnxruntime.SessionOptions()
    if int8_saturates():
        options.add_session_config_entry(*EXACT_INT8)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = []
    for start in range(0, len(images), BATCH):
        some = np.asarray(images[start : start + BATCH], np.float32).transpose(0, 3, 1, 2)
        found += [
            np.asarray(session.run(["logits"], {"image": image})[0])
            for image in np.ascontiguousarray(some)[:, None]
        ]
    return np.concatenate(found)
