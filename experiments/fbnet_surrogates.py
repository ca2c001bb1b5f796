"""Question: how well do networks over encodings of a genome rank the latencies of FBNet's space?

The other half of nb201_surrogates' table: 5,000 networks of FBNet's space (22 layers, nine blocks
each) on devices of the benchmark of HELP (Lee et al., NeurIPS 2021), heads of one network by each
encoder of HW-PR-NAS (Benmeziane et al., TACO 2023). Learnt from 4,000 networks or from 1,000;
figures are Kendall's tau on 1,000 others. `blocks` is a perceptron of which layer has which block.
The seeds of a method, each with networks and fresh weights of its own, are trained side by side.
The published accuracies of FBNet have no counterpart: no table of them is in hand.

Command: python experiments/fbnet_surrogates.py       (a number of seeds and names of encoders may
         follow)

Time: a row 1 to 72 seconds of processor time.
Result: from 4,000 networks LSTM + GCN + AF has a tau of 0.919 (raspi4), 0.969 (eyeriss) and 0.967
(fpga); the blocks alone have 0.945, 0.945 and 0.944. README.md has the table.

Reads fbnet_latency.npz in the folder that HELP_TABLES names.
`fbnet_surrogates.py:fbnet` is the space for any other command, too.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from time import process_time

import jax
import numpy as np
from jaxtyping import Bool, Int
from nb201_surrogates import AF, GCN, MEMORY, NETWORK, taus, told_of

from jaxnas.cli import told
from jaxnas.errors import UserError
from jaxnas.networks.op import Op
from jaxnas.networks.sizes import strided
from jaxnas.predictors.encoders import Flat, Joined
from jaxnas.spaces.encodings import one_hot
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.part_builder import PartBuilder, classifier
from jaxnas.spaces.parts import Part
from jaxnas.spaces.space import Space
from jaxnas.types import Size

# Kernel, expand ratio and groups of the 1x1 convolutions, as FBNet's blocks are named; and skip.
BLOCKS = tuple(
    (f"k{kernel}_e{expand}" + "_g2" * (groups == 2), kernel, expand, groups)
    for kernel, (expand, groups) in product((3, 5), ((1, 1), (1, 2), (3, 1), (6, 1)))
)
SKIP = "skip"
# Width, layers and stride of each stage as the benchmark has them for 32 pixels.
STAGES = (
    (16, 1, 1),
    (24, 4, 1),
    (32, 4, 2),
    (64, 4, 2),
    (112, 4, 1),
    (184, 4, 2),
    (352, 1, 1),
)
STEM, LAST = 16, 1504
FILE = "fbnet_latency.npz"
SEEDS = 5
TRAIN = (4000, 1000)
HELD_OUT = 1000
DEVICES = ("raspi4", "eyeriss", "fpga", "pixel2", "gold_6226", "1080ti_1")
# Published taus of FBNet's latency (an earlier figure of HW-PR-NAS, `encodings2`; which device is
# not said). Accuracies there are 0.42, 0.86, 0.88, 0.89, 0.90.
ENCODERS = {
    "AF": (AF, 0.62),
    "LSTM": (MEMORY, 0.76),
    "LSTM + AF": (Joined((MEMORY, AF)), 0.93),
    "GCN": (GCN, 0.75),
    "GCN + AF": (Joined((GCN, AF)), 0.73),
    "LSTM + GCN + AF": (Joined((MEMORY, GCN, AF)),),
    "blocks": (Flat(one_hot),),
}


def fbnet(image_size: int = 32, channels: int = 3, classes: int = 100) -> Space:
    """The space of the benchmark (Wu et al., "FBNet", CVPR 2019; HW-NAS-Bench, ICLR 2021).

    A skipped layer that strides or widens is a 1x1 convolution. Channels are not shuffled between
    the groups of a block, which costs neither multiply-adds nor weights.
    """
    labels = (*(name for name, *_ in BLOCKS), SKIP)
    layers = sum(depth for _, depth, _ in STAGES)
    choices = tuple(range(len(labels)))
    genes = tuple(Gene(f"layer_{i}", choices, "operation", labels=labels) for i in range(layers))
    parts = [Part("stem", (), partial(_stem, image_size, channels))]
    size, width = image_size, STEM
    for c_out, depth, stride in STAGES:
        for own_stride in (stride, *(1,) * (depth - 1)):
            layer = len(parts) - 1
            ops = partial(_layer, f"layer_{layer}", size, width, c_out, own_stride)
            parts.append(Part(f"layer_{layer}", (layer,), ops))
            size, width = strided(size, own_stride), c_out
    parts.append(Part("last", (), partial(_last, size, width)))
    parts.append(Part("classifier", (), partial(classifier, LAST, classes)))
    return Space("fbnet", genes, tuple(parts))


def _stem(size: int, channels: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, channels)
    ops.conv("stem", STEM, kernel=3, act="relu")
    return ops.done()


def _layer(
    name: str, size: int, c_in: int, c_out: int, stride: int, choice: Size
) -> tuple[Op, ...]:
    """All blocks, each where it is the choice."""
    ops = PartBuilder(size, c_in)
    kept = stride == 1 and c_in == c_out
    results = []
    for i, (block, kernel, expand, groups) in enumerate(BLOCKS):
        path, width = f"{name}/{block}", expand * c_in
        with ops.only_where((choice == i) * 1):
            ops.conv(f"{path}/expand", width, "relu", inputs=(0,), groups=groups)
            window = {"kernel": kernel, "stride": stride, "groups": width}
            ops.conv(f"{path}/depthwise", width, "relu", **window)
            result = ops.conv(f"{path}/project", c_out, groups=groups)
            results.append(ops.append("add", inputs=(result, 0)) if kept else result)
    with ops.only_where((choice == len(BLOCKS)) * 1):
        skip = {"inputs": (0,), "stride": stride}
        results.append(0 if kept else ops.conv(f"{name}/{SKIP}", c_out, "relu", **skip))
    ops.pick(tuple(results), choice)
    return ops.done()


def _last(size: int, width: int) -> tuple[Op, ...]:
    ops = PartBuilder(size, width)
    ops.conv("last", LAST, "relu")
    ops.append("pool")
    return ops.done()


def networks(arrays: Mapping[str, np.ndarray], space: Space) -> Int[np.ndarray, "n genes"]:
    """The genomes of the benchmark; a `UserError` where its blocks are others than the space's."""
    labels = space.genes[0].labels
    names = tuple(map(str, arrays["op_names"]))
    if names != labels or arrays["op_idx"].shape[1] != len(space.genes):
        raise UserError(
            f"{FILE} must have {len(space.genes)} layers of {', '.join(labels)}, got "
            f"{arrays['op_idx'].shape[1]} of {', '.join(names)}"
        )
    return arrays["op_idx"].astype(np.int32)


def splits(n: int, train: int, seeds: int) -> tuple[Bool[np.ndarray, "k n"], ...]:
    """Networks to learn from and held-out ones, a row for each seed."""
    orders = [np.random.default_rng(seed).permutation(n) for seed in range(seeds)]
    place = np.argsort(orders, axis=1)
    return place < train, place >= n - HELD_OUT


def read() -> tuple[Int[np.ndarray, "n genes"], dict[str, np.ndarray]]:
    """Networks and their latencies in ms by device."""
    if "HELP_TABLES" not in os.environ:
        raise UserError(f"HELP_TABLES must name the folder of {FILE}: set it")
    with np.load(Path(os.environ["HELP_TABLES"]) / FILE, allow_pickle=False) as arrays:
        found = {name: arrays[f"latency_ms_{name}"].astype(np.float64) for name in DEVICES}
        return networks(arrays, fbnet()), found


def main(seeds: str = str(SEEDS), *encoders: str) -> int:
    """A row for each number of networks and encoder, or for each of those named."""
    if not seeds.isdecimal() or not {*encoders} <= {*ENCODERS}:
        raise UserError(
            f"expected a number of seeds and names of encoders, {', '.join(ENCODERS)}; got "
            f"{seeds} {' '.join(encoders)}"
        )
    genomes, truth = read()
    space, columns = fbnet(), np.stack(list(truth.values()), axis=1)
    print(f"| networks | encoder | {' | '.join(truth)} | published latency | CPU s |")
    for train, name in product(TRAIN, encoders or ENCODERS):
        start = process_time()
        encoder, *published = ENCODERS[name]
        used, held_out = splits(len(genomes), train, int(seeds))
        network = replace(NETWORK, encoder=encoder)
        model = network.fitted(jax.random.key(0), space, genomes, columns, used)
        found = np.moveaxis(np.asarray(model.outputs(genomes)), -1, 0)
        row = [told_of(taus(*pair, held_out)) for pair in zip(truth.values(), found, strict=True)]
        beside = ", ".join(map(str, published)) or "-"
        seconds = process_time() - start
        print(f"| {train} | {name} | {' | '.join(row)} | {beside} | {seconds:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
