"""The supernet of the elastic inverted-residual family."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxnas.networks.op import Op
from jaxnas.networks.subnet import ACTIVATIONS
from jaxnas.spaces.mobilenet import Choice, split_genes
from jaxnas.spaces.space import Space
from jaxnas.spaces.stage import MobileNet, Stage, head_width, make_divisible, squeezed
from jaxnas.supernets.elastic import Conv, ConvNorm, Depthwise, Linear, Shortcut, SqueezeExcite
from jaxnas.supernets.int8 import build_int8
from jaxnas.supernets.operators import Sizes, operators
from jaxnas.supernets.supernet import Params, Supernet
from jaxnas.supernets.switched import build_switched
from jaxnas.supernets.switched_training import build_switched_training
from jaxnas.types import Genome, PRNGKey, Size


class Block(nnx.Module):
    """Expand, depthwise, squeeze-excite, project, and the way around them.

    As far as the stage's operator has them.
    """

    def __init__(self, key, net: MobileNet, stage: Stage, widths_in: tuple[int, ...], first: bool):
        keys = jax.random.split(key, 5)
        c_in = widths_in[-1]
        c_out = stage.widths[-1]
        stride = stage.stride if first else 1
        middle = make_divisible(c_in * stage.expands[-1])
        always = net.shortcut == "always"
        plain = stage.operator != "conv"
        expand_stride = stride if stage.operator == "fused_mbconv" else 1
        self.expand = (
            ConvNorm(
                keys[0], c_in, middle, stage.activation, stage.expand_kernels[-1], expand_stride
            )
            if stage.expand_kernels
            else None
        )
        self.depthwise = (
            Depthwise(
                keys[1], middle, stage.kernels, stride, stage.activation, net.kernel_transform
            )
            if stage.depthwise_kernels
            else None
        )
        self.squeeze_excite = (
            SqueezeExcite(keys[2], middle, squeezed(middle)) if stage.squeeze_excite else None
        )
        # A block with a way around begins as that way alone.
        scale = 1.0 if first and not always else 0.0
        act, kernel = ("", 1) if plain else (stage.activation, stage.kernels[-1])
        self.project = ConvNorm(keys[3], middle, c_out, act, kernel, 1 if plain else stride, scale)
        around = first and (always or (stride == 1 and set(widths_in) & set(stage.widths)))
        self.shortcut = Shortcut(keys[4], c_in, c_out, stride, weights=always) if around else None
        self.first = first

    def __call__(
        self, x: Float[Array, "n h w c"], sizes: Sizes, stats
    ) -> tuple[Float[Array, "n ho wo co"], dict]:
        stats = stats or {}
        middle = make_divisible(sizes.c_in * sizes.expand)
        around = x
        used = {}
        if self.expand is not None:
            x, used["expand"] = self.expand(x, middle, stats.get("expand"), sizes.kernel)
        if self.depthwise is not None:
            x, used["depthwise"] = self.depthwise(x, sizes.kernel, middle, stats.get("depthwise"))
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x, squeezed(middle))
        x, used["project"] = self.project(x, sizes.c_out, stats.get("project"), sizes.kernel)
        if self.shortcut is not None:
            x = x + self.shortcut(around, sizes.c_in, sizes.c_out)
        return x if self.first else x + around, used


class Net(nnx.Module):
    """The largest network, whose weights every other one shares."""

    def __init__(self, key, net: MobileNet):
        first, last, *keys = jax.random.split(key, 2 + len(net.stages))
        self.first_conv = ConvNorm(
            first, net.channels, net.first_widths[-1], net.activation, 3, net.first_stride
        )
        widths = net.first_widths
        for i, (key, stage) in enumerate(zip(keys, net.stages, strict=True), 1):
            blocks = {}
            for b, block_key in enumerate(jax.random.split(key, stage.depths[-1])):
                blocks[f"block{b}"] = Block(block_key, net, stage, widths, first=b == 0)
                widths = stage.widths
            setattr(self, f"mb{i}", nnx.Dict(blocks))
        c_in = widths[-1]
        c_out = net.last_widths[-1]
        keys = jax.random.split(last, 3)
        wide = head_width(net, c_in, c_out)
        self.last_conv = nnx.Dict(expand=ConvNorm(keys[0], c_in, wide, net.activation))
        if net.head == "v3":
            self.last_conv["feature"] = Conv(keys[1], wide, c_out)
        self.classifier = Linear(keys[2], net.last_widths[-1], net.classes)


def build(space: Space) -> Supernet:
    """The supernet of a space whose structure is a `MobileNet`."""
    net: MobileNet = space.structure
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: Net(jax.random.key(0), net)))

    def init(key: PRNGKey) -> Params:
        return nnx.to_pure_dict(nnx.state(Net(key, net)))

    def apply(params: Params, images: Float[Array, "n h w c"], genome: Genome, stats=None):
        return _forward(
            nnx.merge(graphdef, params), net, images, split_genes(net, space.values(genome)), stats
        )

    def ops(genome) -> tuple[Op, ...]:
        return operators(net, split_genes(net, list(space.decode(genome).values())))

    return Supernet(
        space,
        init,
        apply,
        ops,
        build_switched(space),
        build_int8(space),
        build_switched_training(space),
    )


def _forward(modules: Net, net: MobileNet, images, choice: Choice, stats):
    given = stats or {}
    used = {}
    x, used["first_conv"] = modules.first_conv(images, choice.first, given.get("first_conv"))
    c_in = choice.first
    for i in range(len(net.stages)):
        name = f"mb{i + 1}"
        c_out = choice.widths[i]
        sizes = [
            Sizes(c_in, c_out, *genes)
            for genes in zip(choice.kernels[i], choice.expands[i], strict=True)
        ]
        x, used[name] = _stage(getattr(modules, name), x, sizes, choice.depths[i], given.get(name))
        c_in = c_out
    head: Any = modules.last_conv
    x, expanded = head["expand"](
        x, head_width(net, c_in, choice.last), given.get("last_conv", {}).get("expand")
    )
    used["last_conv"] = {"expand": expanded}
    x = jnp.mean(x, (1, 2), keepdims=True)
    if net.head == "v3":
        x = ACTIVATIONS[net.activation](head["feature"](x, choice.last))
    return modules.classifier(x), used


def _stage(blocks, x, sizes: list[Sizes], depth: Size, stats):
    """The first `depth` blocks.

    Skipped ones are selected away in training, not run at all in evaluation.
    """
    stats = stats or {}
    used = {}
    x, used["block0"] = blocks["block0"](x, sizes[0], stats.get("block0"))
    for b in range(1, len(blocks)):
        block = blocks[f"block{b}"]
        name = f"block{b}"
        size = sizes[b]._replace(c_in=sizes[b].c_out)
        if name in stats:  # a gradient through a conditional is dear, so only here
            x = jax.lax.cond(
                b < depth,
                lambda x, block=block, size=size, s=stats[name]: block(x, size, s)[0],
                lambda x: x,
                x,
            )
            used[name] = stats[name]
        else:
            y, used[name] = block(x, size, None)
            x = jnp.where(b < depth, y, x)
    return x, used
