"""Question: on which devices is a network's latency the sum of a table of its layers'?

Of the 5,000 networks of FBNet's space (22 layers, nine blocks each) in the benchmark of HELP (Lee
et al., NeurIPS 2021), 4,000 are drawn at random, a table of each layer's blocks is fitted to their
latencies (`predict.method lookup`), and predicts the other 1,000. The same of NAS-Bench-201's
15,625 cells, a table for each edge. Figures are means of five draws, with the least and the most.

Command: python experiments/fbnet_lookup.py
Time: 20 seconds.

Reads fbnet_latency.npz and nb201_tables.npz in the folder that HELP_TABLES names.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import r2_score

from jaxnas.cli import told
from jaxnas.errors import UserError
from jaxnas.predictors.lookup import Lookup
from jaxnas.predictors.metrics import kendall
from jaxnas.predictors.single import Single
from jaxnas.spaces.gene import Gene
from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.space import Space

SHARE = 0.8
DRAWS = 5
LATENCY = "latency_ms_"  # which the names of latencies begin with


def fbnet(arrays: Mapping[str, np.ndarray]) -> tuple[Space, Int[np.ndarray, "n genes"]]:
    """The space and the networks measured."""
    blocks = tuple(range(len(arrays["op_names"])))
    genomes = arrays["op_idx"].astype(np.int32)
    genes = tuple(Gene(f"layer_{i}", blocks, "operation") for i in range(genomes.shape[1]))
    return Space("fbnet", genes), genomes


def cells(arrays: Mapping[str, np.ndarray]) -> tuple[Space, Int[np.ndarray, "n genes"]]:
    """As `fbnet`; without the parts, which depend on all six genes each."""
    return Space("edges", nasbench201().genes), arrays["arch"].astype(np.int32)


BENCHES = {"fbnet_latency.npz": fbnet, "nb201_tables.npz": cells}


def held_out(space: Space, genomes: np.ndarray, latency_ms: np.ndarray, draw: int) -> list[float]:
    """R2 and Kendall's tau on the networks that a table has not seen."""
    order = np.random.default_rng(draw).permutation(len(genomes))
    unseen = np.isin(np.arange(len(genomes)), order[int(SHARE * len(genomes)) :])
    model = Single(Lookup()).fit(jax.random.key(0), space, genomes, latency_ms, unseen)
    predicted = np.asarray(model(genomes[unseen]), np.float64)
    return [r2_score(latency_ms[unseen], predicted), kendall(latency_ms[unseen], predicted)]


def told_of(figures: Float[np.ndarray, "draws"]) -> str:
    """Their mean, least and most."""
    return f"{figures.mean():.3f} ({figures.min():.3f}-{figures.max():.3f})"


def main() -> int:
    """Print a row for each device of each benchmark."""
    if "HELP_TABLES" not in os.environ:
        raise UserError("HELP_TABLES must name the folder of fbnet_latency.npz: set it")
    for file, bench in BENCHES.items():
        print(f"| {file}, device | R2 (least-most) | Kendall's tau (least-most) |\n|---|---|---|")
        with np.load(Path(os.environ["HELP_TABLES"]) / file, allow_pickle=False) as arrays:
            space, genomes = bench(arrays)
            measured = {name: arrays[name] for name in arrays if name.startswith(LATENCY)}
        rows = {}
        for device, latency_ms in measured.items():
            each = [held_out(space, genomes, latency_ms, draw) for draw in range(DRAWS)]
            rows[device] = np.array(each).T
        for device, (r2, tau) in sorted(rows.items(), key=lambda row: -row[1][0].mean()):
            print(f"| {device.removeprefix(LATENCY)} | {told_of(r2)} | {told_of(tau)} |")
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
