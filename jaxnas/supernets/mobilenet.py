"""The supernet of the elastic inverted-residual family (AttentiveNAS's blocks)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnas.spaces.mobilenet import HEAD_EXPAND, MobileNet, Stage, make_divisible, split_genes, squeezed
from jaxnas.spaces.space import Space
from jaxnas.supernets.elastic import Conv, ConvNorm, Depthwise, Linear, Shortcut, SqueezeExcite
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.types import Genome, PRNGKey, Size
from jaxnas.workload import Op


class Sizes(NamedTuple):
    """A block's active sizes, ints or traced."""

    c_in: Size
    c_out: Size
    kernel: Size
    expand: Size


class Block(nnx.Module):
    """Expand, depthwise, squeeze-excite, project; a shortcut is always added (only the first of a stage has weights there)."""

    def __init__(self, key, stage: Stage, c_in: int, first: bool):
        keys = jax.random.split(key, 5)
        c_out, stride = stage.widths[-1], stage.stride if first else 1
        middle = make_divisible(c_in * stage.expands[-1])
        self.expand = None if stage.expands == (1,) else ConvNorm(keys[0], c_in, middle, jax.nn.swish)
        self.depthwise = Depthwise(keys[1], middle, stage.kernels[-1], stride, jax.nn.swish)
        self.squeeze_excite = SqueezeExcite(keys[2], middle, squeezed(middle)) if stage.squeeze_excite else None
        self.project = ConvNorm(keys[3], middle, c_out, lambda x: x, scale=0.0)
        self.shortcut = Shortcut(keys[4], c_in, c_out, stride) if first else None

    def __call__(self, x: Float[Array, "n h w c"], sizes: Sizes, stats) -> tuple[Float[Array, "n ho wo co"], dict]:
        stats = stats or {}
        middle = make_divisible(sizes.c_in * sizes.expand)
        around, used = x, {}
        if self.expand is not None:
            x, used["expand"] = self.expand(x, middle, stats.get("expand"))
        x, used["depthwise"] = self.depthwise(x, sizes.kernel, middle, stats.get("depthwise"))
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x, squeezed(middle))
        x, used["project"] = self.project(x, sizes.c_out, stats.get("project"))
        if self.shortcut is not None:
            around = self.shortcut(around, sizes.c_in, sizes.c_out)
        return x + around, used


class Net(nnx.Module):
    """The largest network, whose weights every other one shares."""

    def __init__(self, key, net: MobileNet):
        first, last, *keys = jax.random.split(key, 2 + len(net.stages))
        self.first_conv = ConvNorm(first, net.channels, net.first_widths[-1], jax.nn.swish, kernel=3, stride=net.first_stride)
        c_in = net.first_widths[-1]
        for i, (key, stage) in enumerate(zip(keys, net.stages, strict=True), 1):
            blocks = {}
            for b, block_key in enumerate(jax.random.split(key, stage.depths[-1])):
                blocks[f"block{b}"] = Block(block_key, stage, c_in, first=b == 0)
                c_in = stage.widths[-1]
            setattr(self, f"mb{i}", nnx.Dict(blocks))
        keys = jax.random.split(last, 3)
        self.last_conv = nnx.Dict(
            expand=ConvNorm(keys[0], c_in, HEAD_EXPAND * c_in, jax.nn.swish),
            feature=Conv(keys[1], HEAD_EXPAND * c_in, net.last_widths[-1]),
        )
        self.classifier = Linear(keys[2], net.last_widths[-1], net.classes)


def build(space: Space) -> Supernet:
    """The supernet of a space whose structure is a `MobileNet`."""
    net: MobileNet = space.structure
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: Net(jax.random.key(0), net)))

    def init(key: PRNGKey) -> Params:
        return nnx.to_pure_dict(nnx.state(Net(key, net)))

    def apply(params: Params, images: Float[Array, "n h w c"], genome: Genome, stats=None):
        return _forward(nnx.merge(graphdef, params), space, images, genome, stats)

    return Supernet(space, init, apply, lambda genome: _ops(space, genome))


def _forward(modules: Net, space: Space, images, genome: Genome, stats):
    _, first, widths, last, depths, kernels, expands = split_genes(space.structure, space.values(genome))
    given, used = stats or {}, {}
    x, used["first_conv"] = modules.first_conv(images, first, given.get("first_conv"))
    c_in = first
    for i in range(len(space.structure.stages)):
        name = f"mb{i + 1}"
        blocks = getattr(modules, name)
        x, used[name] = _stage(blocks, x, Sizes(c_in, widths[i], kernels[i], expands[i]), depths[i], given.get(name))
        c_in = widths[i]
    head: Any = modules.last_conv
    x, expanded = head["expand"](x, HEAD_EXPAND * c_in, given.get("last_conv", {}).get("expand"))
    used["last_conv"] = {"expand": expanded}
    x = jax.nn.swish(head["feature"](jnp.mean(x, (1, 2), keepdims=True), last))
    return modules.classifier(x), used


def _stage(blocks, x, sizes: Sizes, depth: Size, stats):
    """The first `depth` blocks: skipped ones are selected away in training, not run at all in evaluation."""
    stats, used = stats or {}, {}
    x, used["block0"] = blocks["block0"](x, sizes, stats.get("block0"))
    sizes = sizes._replace(c_in=sizes.c_out)
    for b in range(1, len(blocks)):
        block, name = blocks[f"block{b}"], f"block{b}"
        if name in stats:  # a gradient through a conditional is dear, so only here
            x = jax.lax.cond(b < depth, lambda x, block=block, s=stats[name]: block(x, sizes, s)[0], lambda x: x, x)
            used[name] = stats[name]
        else:
            y, used[name] = block(x, sizes, None)
            x = jnp.where(b < depth, y, x)
    return x, used


def _ops(space: Space, genome) -> tuple[Op, ...]:
    """The network of a genome, operator by operator, in order of execution."""
    net: MobileNet = space.structure
    size, c_in, widths, last, depths, kernels, expands = split_genes(net, list(space.decode(genome).values()))
    ops: list[Op] = []
    size = -(-size // net.first_stride)
    _append(ops, "conv", size, net.channels, c_in, "first_conv", kernel=3, stride=net.first_stride, norm=True, act="swish")
    for i, stage in enumerate(net.stages):
        for b in range(depths[i]):
            stride = stage.stride if b == 0 else 1
            _append_block(ops, f"mb{i + 1}/block{b}", stage, size, stride, Sizes(c_in, widths[i], kernels[i], expands[i]))
            size, c_in = -(-size // stride), widths[i]
    wide = HEAD_EXPAND * c_in
    _append(ops, "conv", size, c_in, wide, "last_conv/expand", norm=True, act="swish")
    _append(ops, "pool", 1, wide, wide)
    _append(ops, "conv", 1, wide, last, "last_conv/feature", act="swish")
    _append(ops, "linear", 1, last, net.classes, "classifier", bias=True)
    return tuple(ops)


def _append(ops: list[Op], kind: str, size: int, c_in: int, c_out: int, path: str = "", inputs: tuple[int, ...] = (), **rest) -> int:
    """Appends an operator, which follows the one before it unless `inputs` are given; returns its position."""
    ops.append(Op(kind, path, inputs or (len(ops) - 1,), size, size, c_in, c_out, **rest))
    return len(ops) - 1


def _append_block(ops: list[Op], path: str, stage: Stage, size: int, stride: int, sizes: Sizes) -> None:
    c_in, c_out, kernel, expand = map(int, sizes)
    around, out, middle = len(ops) - 1, -(-size // stride), make_divisible(c_in * expand)
    if stage.expands != (1,):
        _append(ops, "conv", size, c_in, middle, f"{path}/expand", norm=True, act="swish")
    x = _append(ops, "conv", out, middle, middle, f"{path}/depthwise", kernel=kernel, stride=stride, groups=middle, norm=True, act="swish")
    if stage.squeeze_excite:
        _append(ops, "pool", 1, middle, middle)
        _append(ops, "conv", 1, middle, squeezed(middle), f"{path}/squeeze_excite/squeeze", bias=True, act="relu")
        gate = _append(ops, "conv", 1, squeezed(middle), middle, f"{path}/squeeze_excite/excite", bias=True, act="hard_sigmoid")
        _append(ops, "mul", out, middle, middle, inputs=(x, gate))
    x = _append(ops, "conv", out, middle, c_out, f"{path}/project", norm=True)
    if stride == 2:
        around = _append(ops, "avgpool2", out, c_in, c_in, inputs=(around,))
    if c_in != c_out:
        around = _append(ops, "conv", out, c_in, c_out, f"{path}/shortcut", inputs=(around,))
    _append(ops, "add", out, c_out, c_out, inputs=(x, around))
