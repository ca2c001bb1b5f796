"""Accuracy of many subnets in one program, and of one plain network."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxnas.data.pixels import Pixels
from jaxnas.networks.subnet import Subnet
from jaxnas.numerics.float32 import Float32
from jaxnas.numerics.numerics import Numerics
from jaxnas.supernets.supernet import Params, Supernet, Switched
from jaxnas.supernets.switched_training import mixes_results
from jaxnas.training.device_memory import batch, crowd, image_bytes, largest_ops
from jaxnas.training.recalibrate import TOGETHER, by_batches, statistics
from jaxnas.types import Genome, Genomes, SoftGenome

FLOAT32 = Float32()
# MACs of the largest network from which a switched program's compilation (a minute) repays itself.
SWITCH_FROM = 10_000_000


class Examples(NamedTuple):
    """Normalised images at one resolution, their labels.

    And the images that statistics are recalibrated on.

    `images` may be `Pixels`: they are then normalised and resized a batch at a time.
    """

    images: Float[Array, "n h w c"] | Pixels
    labels: Int[Array, "n"]
    calibration: Float[Array, "m h w c"]


def accuracies(
    net: Supernet,
    params: Params,
    genomes: Genomes,
    live: Bool[Array, "n"],
    examples: Examples,
    *,
    together: int | None = None,
    memory_gib: float | None = None,
    switched: bool | None = None,
    numerics: Numerics = FLOAT32,
    mesh: Mesh | None = None,
) -> Float[Array, "n"]:
    """Top-1 accuracy of each genome with its own recalibrated statistics.

    NaN where `live` is false: such rows (padding, genomes of another resolution) cost nothing where
    genomes take turns. Genomes are traced: under `jit`, populations of one size and one resolution
    share a program.

    `together` is the most genomes that `vmap` evaluates side by side: by default 1 on a CPU, else
    16, or fewer where their activations would take more than `memory_gib`, by default half of the
    device's memory. `memory_gib` bounds the batches of images, too.

    `switched` evaluates each network by itself, behind switches, not by masks: by default on a CPU,
    in spaces of operations and in those whose largest network has 10 MMACs or more. `numerics`
    other than float32 are those of networks that run in them, calibrated on the same images, always
    behind switches.

    With a `mesh` of one axis, equal consecutive blocks of genomes go to its devices, which may
    belong to several processes. Order the genomes with `parallel.dealt` to balance the work.
    """
    if switched is None:
        switched = takes_switches(net)
    each = image_bytes(
        largest_ops(net, examples.calibration.shape[1]), examples.calibration.shape[1]
    )
    together = together or crowd(each * min(len(examples.calibration), TOGETHER), memory_gib)
    masked = partial(_masked_accuracy, size=batch(each, together, memory_gib))
    simulated = partial(_simulated_accuracy, numerics=numerics)
    exact = _switched_accuracy if switched else masked
    one = exact if numerics.exact else simulated
    return of_each(partial(one, net), params, genomes, live, examples, together, mesh)


def takes_switches(net: Supernet) -> bool:
    """Whether subnets are evaluated as extracted forms behind switches, by default."""
    if jax.default_backend() != "cpu":
        return False
    macs = sum(int(term.macs.max()) for term in net.space.terms)
    return macs >= SWITCH_FROM or computes_one_path(net)


def trains_by_switches(net: Supernet) -> bool:
    """Whether subnets of their own are trained so too.

    Depthwise convolutions wait for memory: to compute their blocks twice costs more than masked
    channels (80 and 97 images/s in `cifar`). Masks over operations cost more than either.
    """
    if computes_one_path(net):
        return True
    operators = (op for ops in net.space.tabled for op in ops)
    return takes_switches(net) and all((op.groups == 1).all() for op in operators)


def computes_one_path(net: Supernet) -> bool:
    """Whether one-hot genomes are computed behind switches: on a CPU, where that is exact.

    There masks compute every operation of every edge.
    """
    return jax.default_backend() == "cpu" and mixes_results(net.space)


def trained_logits(
    net: Supernet, params: Params, genome: Genome, images: Array
) -> Float[Array, "n classes"]:
    """Logits of a traced genome in its own training, with batch statistics; differentiable."""
    if trains_by_switches(net):
        return net.switched_training(params, genome, images)
    return net.apply(params, images, genome)[0]


def of_each(
    one: Callable[..., Float[Array, "..."]],
    params: Params,
    genomes: Genomes,
    live: Bool[Array, "n"],
    data: PyTree,
    together: int,
    mesh: Mesh | None,
    shape: tuple[int, ...] = (),
) -> Float[Array, "n ..."]:
    """`one(params, genome, data)`, of this shape, of each live genome, NaN of the others.

    `together` and `mesh` as in `accuracies`.
    """

    def some(params, genomes, live, data):
        def row(pair):
            genome, live = pair
            return jax.lax.cond(
                live,
                lambda: one(params, genome, data),
                lambda: jnp.full(shape, jnp.nan, jnp.float32),
            )

        return (
            jax.lax.map(row, (genomes, live))
            if together == 1
            else _in_crowds(together, row, genomes, live, shape)
        )

    return (
        some(params, genomes, live, data)
        if mesh is None or mesh.size == 1
        else _spread(some, mesh)(params, genomes, live, data)
    )


def _in_crowds(
    most: int,
    row: Callable[..., Float[Array, "..."]],
    genomes: Genomes,
    live: Bool[Array, "n"],
    shape: tuple[int, ...],
) -> Float[Array, "n ..."]:
    """`row((genome, live))` of each, at most so many side by side, in crowds of equal size.

    The live ones come first, so that a crowd without any costs nothing.
    """
    size = -(-len(genomes) // -(-len(genomes) // most))
    order = jnp.argsort(~live, stable=True)
    fill = -len(genomes) % size
    rows, alive = (jnp.pad(some, (0, fill)).reshape(-1, size) for some in (order, live[order]))

    def crowd(pair):
        rows, alive = pair
        return jax.lax.cond(
            alive.any(),
            lambda: jax.vmap(row)((genomes[rows], alive)),
            lambda: jnp.full((size, *shape), jnp.nan, jnp.float32),
        )

    found = jax.lax.map(crowd, (rows, alive)).reshape(-1, *shape)[: len(genomes)]
    return jnp.zeros_like(found).at[order].set(found)


def _spread(some: Callable, mesh: Mesh) -> Callable:
    """`some` with a block of its rows on each device of the mesh.

    Devices do not wait for one another. With several processes, results are gathered, so that each
    process has all of them.
    """
    (axis,) = mesh.axis_names
    several = jax.process_count() > 1

    def part(params, genomes, live, examples):
        found = some(params, genomes, live, examples)
        return jax.lax.all_gather(found, axis, tiled=True) if several else found

    specs = (PartitionSpec(), PartitionSpec(axis), PartitionSpec(axis), PartitionSpec())
    blocks = jax.shard_map(
        part,
        mesh=mesh,
        in_specs=specs,
        out_specs=PartitionSpec() if several else PartitionSpec(axis),
        check_vma=False,
    )

    def padded(params, genomes, live, examples):
        fill = -len(genomes) % mesh.size
        if not fill:
            return blocks(params, genomes, live, examples)
        return blocks(
            params, jnp.pad(genomes, ((0, fill), (0, 0))), jnp.pad(live, (0, fill)), examples
        )[: len(genomes)]

    return padded


def mixture_accuracy(
    net: Supernet, params: Params, genome: SoftGenome, examples: Examples
) -> Float[Array, ""]:
    """Top-1 accuracy of the mixture that a soft genome is, with its own recalibrated statistics."""
    pixels = examples.calibration.shape[1]
    size = batch(image_bytes(largest_ops(net, pixels), pixels))
    return _masked_accuracy(net, params, genome, examples, size)


def _masked_accuracy(
    net: Supernet, params: Params, genome, examples: Examples, size: int
) -> Float[Array, ""]:
    stats = statistics(net, params, genome, examples.calibration)
    return _share_correct(
        lambda images: net.apply(params, images, genome, stats)[0],
        examples.images,
        examples.labels,
        size,
    )


def _switched_accuracy(
    net: Supernet, params: Params, genome, examples: Examples
) -> Float[Array, ""]:
    return _two_step_accuracy(net.switched, params, genome, examples)


def _simulated_accuracy(
    net: Supernet, params: Params, genome, examples: Examples, numerics: Numerics
) -> Float[Array, ""]:
    some = examples._replace(calibration=examples.calibration[:TOGETHER])  # ranges are no means
    return _two_step_accuracy(net.simulated(numerics), params, genome, some)


def _two_step_accuracy(
    form: Switched, params: Params, genome, examples: Examples
) -> Float[Array, ""]:
    calibrate, logits = form
    weights = by_batches(lambda batch: calibrate(params, genome, batch), examples.calibration)
    return hits(logits(weights, genome, examples.images), examples.labels) / len(examples.labels)


@jax.jit
def accuracy(
    subnet: Subnet, images: Float[Array, "n h w c"] | Pixels, labels: Int[Array, "n"]
) -> Float[Array, ""]:
    """Top-1 accuracy of a plain network with its stored statistics."""
    return _share_correct(subnet, images, labels, batch(image_bytes(subnet.ops, images.shape[1])))


def _share_correct(logits, images: Array | Pixels, labels, size: int) -> Float[Array, ""]:
    """In micro-batches of `size`.

    The last is filled up with images labelled -1, which no network predicts.

    NaN if any logit is not finite: the largest of NaNs would count as class 0.
    """
    pixels, prepared = (
        (images.images, images.prepared)
        if isinstance(images, Pixels)
        else (images, lambda part: part)
    )
    n = len(labels)
    size = min(size, n)
    fill = -n % size
    pixels = jnp.pad(pixels, ((0, fill), (0, 0), (0, 0), (0, 0))).reshape(
        -1, size, *pixels.shape[1:]
    )
    labels = jnp.pad(labels, (0, fill), constant_values=-1).reshape(-1, size)

    return (
        jnp.sum(
            jax.lax.map(lambda batch: hits(logits(prepared(batch[0])), batch[1]), (pixels, labels))
        )
        / n
    )


def hits(scores: Float[Array, "n classes"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """How many images' largest score is their label's; NaN if any score is not finite."""
    return jnp.where(
        jnp.isfinite(scores).all(),
        jnp.sum(jnp.argmax(scores, -1) == labels, dtype=jnp.float32),
        jnp.nan,
    )
