"""Evaluation of subnets as analog memory computes them, inside the compiled program.

A genome is calibrated once: its norms are folded, and each layer's inputs get a limit. Then it is
programmed, and read at several times; images come last. Cells of each form are drawn in its own
shape, and stand in rows as long as those of the largest, so that one loop takes all.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxnas.data.pixels import Pixels
from jaxnas.networks.chunks import in_numbered_batches_of, joined
from jaxnas.networks.op import Op
from jaxnas.networks.operators import OPERATORS
from jaxnas.networks.subnet import Arrays, without_norms
from jaxnas.numerics.analog import (
    Held,
    InMemory,
    Spread,
    forward,
    image_keys,
    input_limit,
    keys_of,
    layer_keys,
    layers_of,
    observed,
)
from jaxnas.numerics.noise import normals
from jaxnas.spaces.space import Space
from jaxnas.supernets.forms import Forms, Segment, segments_of
from jaxnas.supernets.interpreter import fitted
from jaxnas.supernets.supernet import Params, take
from jaxnas.supernets.switched import (
    MICRO_BATCH,
    Turn,
    Weights,
    calibrated,
    cropped,
    full_path,
    grouped,
    handed,
    of_parts,
    parts_of,
    switched,
    walk,
)
from jaxnas.types import Genome, PRNGKey

Keys = dict[str, Any]  # of each segment: {path: key}, of several parts stacked


class InMemoryForm(NamedTuple):
    """How the subnets of a space are evaluated in a memory; all is traced over genomes."""

    calibrate: Callable[[Params, Genome, Array], Weights]
    """(params, genome, images) -> folded weights, and the limits of inputs."""
    read: Callable[[Weights, Genome, PRNGKey, Float[Array, "times"]], Weights]
    """(weights, genome, key, times) -> the layers of one programming at each time, time first."""
    logits: Callable[[Weights, Weights, Genome, Array | Pixels], Float[Array, "n classes"]]
    """(weights, layers at one time, genome, images) -> logits."""


def build_analog(space: Space, memory: InMemory, pixels: int) -> InMemoryForm:
    """How the subnets of a space are evaluated in this memory, on images of this size."""
    segments = segments_of(space, pixels)

    def calibrate(params: Params, genome: Genome, images: Float[Array, "m h w c"]) -> Weights:
        weights = walk(segments, grouped(segments, params), images, genome, calibrated)[1]
        limits = walk(segments, weights, images, genome, _limited)[1]
        return {name: (arrays, limits[name]) for name, arrays in weights.items()}

    def read(
        weights: Weights, genome: Genome, key: PRNGKey, times: Float[Array, "times"]
    ) -> Weights:
        writes, reads, images = (_keys(segments, keys) for keys in keys_of(key, times))
        given = {name: (weights[name][0], writes[name], reads[name]) for name in weights}
        layers = of_parts(segments, given, genome, partial(_read, memory, times))
        several = {segment.forms.name: len(segment.parts) > 1 for segment in segments}
        return {name: _time_first((layers[name], images[name]), several[name]) for name in layers}

    def logits(
        weights: Weights, layers: Weights, genome: Genome, images: Float[Array, "n h w c"] | Pixels
    ) -> Float[Array, "n classes"]:
        given = {name: (*weights[name], *layers[name]) for name in weights}

        def some(batch, numbers):
            run = partial(_evaluated, memory, numbers)
            return walk(segments, given, batch, genome, run)[0]

        return in_numbered_batches_of(MICRO_BATCH, some, images)

    return InMemoryForm(calibrate, read, logits)


def _layers(forms: Forms) -> dict[str, list[Op]]:
    """The layers of a part's forms by path."""
    found: dict[str, list[Op]] = {}
    for form in forms.forms:
        for i in layers_of(form):
            found.setdefault(form[i].path, []).append(form[i])
    return found


def _keys(segments: Sequence[Segment], keys: Key[Array, "n"]) -> Keys:
    """Those of each layer, of all layers of a part (layers, n), of alike parts stacked."""
    of = [
        [full_path(path, forms.name) for path in _layers(segment.forms)]
        for segment in segments
        for forms in segment.parts
    ]
    every = layer_keys(keys, [path for paths in of for path in paths])
    found: Keys = {}
    start = 0
    for segment in segments:
        count = len(_layers(segment.forms))
        size = count * len(segment.parts)
        own = every[start : start + size]
        shape = (len(segment.parts), count, len(keys))
        found[segment.forms.name] = own.reshape(shape) if len(segment.parts) > 1 else own
        start += size
    return found


def _time_first(layers: tuple[dict[str, Array], Array], several: bool) -> PyTree:
    """Rows (parts, times, numbers) and keys (parts, layers, times), by time and then by part."""
    rows, keys = layers
    if several:
        rows = jax.tree.map(lambda row: jnp.moveaxis(row, 1, 0), rows)
    return rows, jnp.moveaxis(keys, -1, 0)


def _drawn(
    forms: Forms, form: Int[Array, ""], keys: Key[Array, "layers n"], count: Callable[[Op], int]
) -> dict[str, Float[Array, "n _"]]:
    """The noise of the layers that the form has, by path: `count` numbers each."""
    paths = list(_layers(forms))
    needs = np.zeros((len(forms.forms) + 1, len(paths)), np.int32)
    for at, ops in enumerate(forms.forms):
        for i in layers_of(ops):
            needs[at, paths.index(ops[i].path)] = count(ops[i])
    if not needs.any():
        return {path: jnp.zeros((keys.shape[1], 0), jnp.float32) for path in paths}
    rows = normals(keys, jnp.asarray(needs)[form], needs.max(0).tolist())
    return dict(zip(paths, rows, strict=True))


def _limited(turn: Turn, arrays: Arrays, inputs: list[Array]) -> tuple[Array, Array]:
    """The form's result with folded weights, and the limits of its layers by position."""
    longest = max(map(len, turn.forms.forms), default=0)

    def branch(_, form):
        layers = layers_of(form)
        form = without_norms(form)

        def some(weights, inputs):
            y, found = observed(form, layers, weights, inputs)
            return y, [found[i] for i in layers]

        def compute(arrays, inputs):
            run = partial(some, take(arrays, form))
            y, found = parts_of(form, run, cropped(form, inputs))
            limits = jnp.zeros(longest, jnp.float32)
            for i, each in zip(layers, found, strict=True):
                whole = Spread(each.mean.mean(), each.square.mean(), each.largest.max())
                limits = limits.at[i].set(input_limit(whole))
            return fitted(joined(y), turn.forms.width), limits

        return compute

    def absent(_, inputs):
        return handed(turn.forms, inputs), jnp.zeros(longest, jnp.float32)

    return switched(turn, branch, absent, arrays, inputs)


def _read(
    memory: InMemory, times: Float[Array, "times"], turn: Turn, given: tuple[Arrays, Array, Array]
) -> dict[str, Float[Array, "times _"]]:
    """The layers of the form at each time, in rows of numbers."""
    arrays, writes, reads = given
    write_noise = _drawn(turn.forms, turn.form, writes, memory.writes)
    read_noise = _drawn(turn.forms, turn.form, reads, memory.reads)
    lengths = {
        path: max(_flat(memory, op)[0] for op in ops) for path, ops in _layers(turn.forms).items()
    }
    nothing = {
        path: jnp.zeros((len(times), length), jnp.float32) for path, length in lengths.items()
    }

    def branch(at, form):
        ops = without_norms(form)
        wider = turn.forms.wider[at]

        def compute(given):
            arrays, write_noise, read_noise = given
            weights = take(arrays, ops)
            found = dict(nothing)
            for i in layers_of(form):
                path = ops[i].path
                live = turn.live if wider is not None and i >= wider else ops[i].c_out
                kernel = jnp.asarray(weights[path]["kernel"])
                noise = write_noise[path][0], read_noise[path]
                cells = memory.program(*noise, ops[i], kernel, live, times)
                rows = jax.vmap(lambda one: ravel_pytree(one)[0])(cells)
                found[path] = fitted(rows, lengths[path])
            return found

        return compute

    branches = [branch(at, form) for at, form in enumerate(turn.forms.forms)]
    if turn.forms.absent:
        branches.append(lambda given: nothing)
    return jax.lax.switch(turn.form, branches, (arrays, write_noise, read_noise))


def _flat(memory: InMemory, op: Op) -> tuple[int, Callable[[Array], PyTree]]:
    """How many numbers a layer is that was read, and the layer that such a row is."""

    def read(key):
        kernel = OPERATORS[op.kind].fresh(key, op)["kernel"]
        writes = jnp.zeros(memory.writes(op), jnp.float32)
        reads = jnp.zeros((2, memory.reads(op)), jnp.float32)
        times = jnp.zeros(1, jnp.float32)
        found = memory.program(writes, reads, op, kernel, op.c_out, times)
        return jax.tree.map(lambda leaf: leaf[0], found)

    shapes = jax.eval_shape(read, jax.random.key(0))
    flat, layer = ravel_pytree(jax.tree.map(lambda one: np.zeros(one.shape, one.dtype), shapes))
    return flat.size, layer


def _evaluated(
    memory: InMemory,
    numbers: Int[Array, "n"],
    turn: Turn,
    given: tuple[Arrays, Array, dict[str, Array], Key[Array, "layers"]],
    inputs: list[Array],
) -> tuple[Array, Arrays]:
    """The form's result as the memory has it."""
    *others, keys = given
    noise = _drawn(turn.forms, turn.form, image_keys(keys, numbers), memory.outputs)

    def branch(_, form):
        layers = layers_of(form)
        form = without_norms(form)

        def compute(given, inputs):
            arrays, limits, rows, noise = given
            weights = take(arrays, form)
            held = {}
            for i in layers:
                size, layer = _flat(memory, form[i])
                held[i] = Held(layer(rows[form[i].path][:size]), limits[i])

            def run(batch):
                return forward(memory, form, weights, held, *batch)

            own = {i: noise[form[i].path] for i in layers}
            y = parts_of(form, run, (cropped(form, inputs), own))
            return fitted(joined(y), turn.forms.width)

        return compute

    def absent(_, inputs):
        return handed(turn.forms, inputs)

    return switched(turn, branch, absent, (*others, noise), inputs), {}
