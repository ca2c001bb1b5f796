"""Evaluation of subnets on a CPU: each part is a switch over its forms, without masks.

The masked spelling computes the largest network whatever the genome, 2 to 4 times the work of a
random one. Here a genome still is traced and one program serves all, but each branch of a switch
has static shapes. Parts that are alike share the branches: they are one loop over stacked weights.
No gradient is taken through this; see `switched_training`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxnas.data.pixels import Pixels
from jaxnas.networks.chunks import in_batches_of, in_parts, joined
from jaxnas.networks.norm import batch_statistics, pooled
from jaxnas.networks.op import Op
from jaxnas.networks.subnet import Arrays, folded, forward, norm_act, operate, without_norms
from jaxnas.spaces.parts import IMAGE
from jaxnas.spaces.space import Space
from jaxnas.supernets.forms import OWN, Form, Forms, Segment, segments_of
from jaxnas.supernets.interpreter import fitted
from jaxnas.supernets.supernet import Params, Switched, at, take
from jaxnas.types import Genome, SoftGenome

MICRO_BATCH = 32  # images that go through the network together

Weights = dict[
    str, Any
]  # of each segment: of one part {path: arrays}, of several the same, stacked


class Turn(NamedTuple):
    """A part's turn in a walk: its forms, and which one the genome has; both 0-d, traced."""

    forms: Forms
    form: Array
    live: Any  # channels of the result, where the form may compute more
    weight: Any = None  # of the result, where the genome is soft


def build_switched(space: Space) -> Switched:
    """How the subnets of a space are evaluated on a CPU."""

    def calibrate(params: Params, genome: Genome, images: Float[Array, "m h w c"]) -> Weights:
        segments = segments_of(space, images.shape[1])
        return walk(segments, grouped(segments, params), images, genome, calibrated)[1]

    def logits(
        weights: Weights, genome: Genome, images: Float[Array, "n h w c"] | Pixels
    ) -> Float[Array, "n classes"]:
        segments = segments_of(space, images.shape[1])

        def some(part):
            return walk(segments, weights, part, genome, _evaluated)[0]

        return in_batches_of(MICRO_BATCH, some, images)

    return Switched(calibrate, logits)


def grouped(segments: Sequence[Segment], params: Params) -> Weights:
    """The weights as the walk reads them."""
    weights: Weights = {}
    for segment in segments:
        parts = [_arrays(forms, params) for forms in segment.parts]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
        weights[segment.forms.name] = stacked if len(parts) > 1 else parts[0]
    return weights


def _arrays(forms: Forms, params: Params) -> Arrays:
    """The weights of a part by the paths of its forms."""
    paths = dict.fromkeys(op.path for form in forms.forms for op in form if op.path)
    return {path: at(params, full_path(path, forms.name)) for path in paths}


def full_path(path: str, name: str) -> str:
    """Where the weights lie of which a form of the part `name` knows the path."""
    own = path == OWN or path.startswith(f"{OWN}/")
    return name + path.removeprefix(OWN) if own else path


def walk(
    segments: Sequence[Segment],
    weights: Weights,
    images: Array,
    genome: Genome | SoftGenome,
    run: Callable,
) -> tuple[Array, Weights]:
    """The last part's result, and what `run(turn, arrays, inputs)` makes of the arrays of each."""
    values = {IMAGE: images}
    made: Weights = {}
    for segment in segments:
        name = segment.forms.name
        inputs = [values[source] for source in segment.forms.inputs]
        each = _one if len(segment.parts) == 1 else _several
        result, made[name] = each(segment, weights[name], inputs, genome, run)
        values[segment.parts[-1].name] = result
    return values[segments[-1].parts[-1].name], made


def _one(segment: Segment, weights: PyTree, inputs: list[Array], genome: Array, run: Callable):
    (forms,) = segment.parts
    return run(_turn(forms, genome), weights, inputs)


def _several(segment: Segment, weights: PyTree, inputs: list[Array], genome: Array, run: Callable):
    """A loop over the parts: all their results are as wide as the widest."""
    turns = [_turn(forms, genome) for forms in segment.parts]
    form = jnp.stack([turn.form for turn in turns])
    weight = None if turns[0].weight is None else jnp.stack([turn.weight for turn in turns])

    def part(x, row):
        form, weight, arrays = row
        return run(Turn(segment.forms, form, None, weight), arrays, [x])

    (x,) = inputs
    return jax.lax.scan(part, fitted(x, segment.forms.width), (form, weight, weights))


def of_parts(
    segments: Sequence[Segment], weights: Weights, genome: Genome, run: Callable
) -> Weights:
    """What `run(turn, arrays)` makes of the arrays of each part, without images."""
    made: Weights = {}
    for segment in segments:
        name = segment.forms.name
        turns = [_turn(forms, genome) for forms in segment.parts]
        if len(turns) == 1:
            made[name] = run(turns[0], weights[name])
        else:
            made[name] = _of_several(segment.forms, turns, weights[name], run)
    return made


def _of_several(forms: Forms, turns: Sequence[Turn], weights: PyTree, run: Callable) -> PyTree:
    form = jnp.stack([turn.form for turn in turns])
    return jax.lax.map(lambda row: run(Turn(forms, row[0], None), row[1]), (form, weights))


def _turn(forms: Forms, genome: Genome | SoftGenome) -> Turn:
    chosen = genome if genome.ndim == 1 else jnp.argmax(genome, -1).astype(jnp.int32)
    genes = tuple(chosen[i] for i in forms.genes)
    live = None if forms.widths is None else jnp.asarray(forms.widths, jnp.int32)[genes]
    weight = None
    if genome.ndim == 2 and forms.genes:
        weight = jnp.prod(jnp.stack([genome[i, chosen[i]] for i in forms.genes]))
    return Turn(forms, jnp.asarray(forms.table, jnp.int32)[genes], live, weight)


def calibrated(turn: Turn, arrays: Arrays, inputs: list[Array]) -> tuple[Array, Arrays]:
    """The form's result on one joint batch, and the arrays with its statistics folded in."""
    normed = {path: len(found["scale"]) for path, found in arrays.items() if "scale" in found}
    unused = {
        path: {"mean": jnp.zeros(full, jnp.float32), "var": jnp.ones(full, jnp.float32)}
        for path, full in normed.items()
    }

    def branch(i, form):
        def compute(arrays, inputs):
            y, used = _jointly(form, take(arrays, form), cropped(form, inputs))
            stats = {
                path: {name: fitted(leaf, normed[path]) for name, leaf in found.items()}
                for path, found in used.items()
            }
            return fitted(y, turn.forms.width), unused | stats

        return compute

    def absent(arrays, inputs):
        return handed(turn.forms, inputs), unused

    y, stats = switched(turn, branch, absent, arrays, inputs)
    folds = {
        path: folded(found, stats[path]) if path in stats else found
        for path, found in arrays.items()
    }
    return y, folds


def _evaluated(turn: Turn, arrays: Arrays, inputs: list[Array]) -> tuple[Array, Arrays]:
    """The form's result with folded weights."""

    def branch(i, form):
        form = without_norms(form)

        def compute(arrays, inputs):
            weights = take(arrays, form)
            y = parts_of(form, lambda x: forward(form, weights, x)[0], cropped(form, inputs))
            return fitted(joined(y), turn.forms.width)

        return compute

    return switched(turn, branch, lambda _, inputs: handed(turn.forms, inputs), arrays, inputs), {}


def switched(
    turn: Turn, branch: Callable, absent: Callable, arrays: PyTree, inputs: list[Array]
) -> Any:
    """What the branch of the turn's form gives, its channels masked where the form has too many."""
    branches = [branch(i, form) for i, form in enumerate(turn.forms.forms)]
    if turn.forms.absent:
        branches.append(absent)
    found = jax.lax.switch(turn.form, branches, arrays, tuple(inputs))
    if turn.live is None:
        return found
    y, *rest = found if isinstance(found, tuple) else (found,)
    y = y * (jnp.arange(y.shape[-1], dtype=jnp.int32) < turn.live)
    return (y, *rest) if rest else y


def handed(forms: Forms, inputs: Sequence[Array]) -> Array:
    """The result of a part that is not there."""
    return fitted(inputs[forms.handed], forms.width)


def cropped(form: Form, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The channels of the inputs that a form reads."""
    widths = {j: op.c_in for op in form for j in op.inputs if j < 0}
    return tuple(fitted(x, widths.get(-1 - k, 1)) for k, x in enumerate(inputs))


def _jointly(ops: Form, weights: Arrays, inputs: tuple[Array, ...]) -> tuple[Array, Arrays]:
    """`forward` with statistics of the whole batch, but a part of it at a time from norm to norm.

    So a norm's input is written once and read once; its statistics are pooled from the parts'.
    """
    raw = {-1 - k: x for k, x in enumerate(inputs)}  # by position, with what stands before norms
    stats = {}

    def result(i: int, part):
        if i < 0:
            return part[i]
        return norm_act(ops[i], weights, part[i] if i in raw else before_norm(i, part), stats)

    def before_norm(i: int, part):
        return operate(ops[i], weights, [result(j, part) for j in ops[i].inputs])

    def sources(i: int) -> set[int]:
        return {i} if i in raw else set().union(*map(sources, ops[i].inputs))

    def normed(i: int, part):
        y = before_norm(i, part)
        return y, batch_statistics(y)

    for i, op in enumerate(ops):
        if op.norm:
            found, each = parts_of(ops, partial(normed, i), {j: raw[j] for j in sources(i)})
            raw[i] = joined(found)
            stats[op.path] = pooled(**each)
    last = len(ops) - 1
    needs = {j: raw[j] for j in sources(last)}
    return joined(parts_of(ops, partial(result, last), needs)), stats


def parts_of(ops: Sequence[Op], run: Callable, batch: PyTree) -> PyTree:
    """`run` on so many rows at a time that activations stay in a core's cache; results stacked."""
    return in_parts(run, batch, max(op.height * op.width * op.c_out for op in ops))
