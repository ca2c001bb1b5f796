"""What a Hailo-8L might make of a network.

A formula fitted to published throughput, off by 15 % in the median.
"""

import json
import math

PEAK = 16250  # multiply-adds a cycle
CYCLES_MS = 400e3
CLUSTERS = (0, 1, 4, 5)  # which four of the eight clusters are in use differs between modules


def contexts(network):
    """Into how many parts a network is cut."""
    parts = math.ceil(occupancy(network))
    return parts if not network.gates else max(2, parts, network.gates // 2)


def occupancy(network):
    return network.params / 20.2 + network.lines / 1.486


def utilisation(network, context):
    """Control, compute and memory of each cluster in use, in percent.

    In eighths, sixteenths and so on of a cluster.
    """
    share = occupancy(network) / contexts(network)
    rows = []
    for i, _ in enumerate(CLUSTERS):
        busy = min(1.0, share * (0.6 + 0.2 * ((i + context) % 4)))
        rows.append(
            [
                round(100 * min(1.0, step(busy * factor, parts)), 1)
                for factor, parts in ((1.2, 16), (0.8, 64), (0.6, 128))
            ]
        )
    return rows


def step(share, parts):
    return math.ceil(share * parts) / parts


def hef(network, name, hw_arch):
    """A HEF that says what it is."""
    millions = 1.963 * network.dense + 151.4 * network.depthwise + 963.2 * network.elementwise
    period = (
        (2.28 * network.height * network.width) ** 4 + (1e6 * millions / PEAK) ** 4
    ) ** 0.25 / CYCLES_MS
    parts = contexts(network)
    if parts == 1:
        period = max(period, 0.09)
        latency = {1: period * (1 + 0.505 * network.fill)}
        latency[8] = latency[1] + 7 * period
        fps = {1: 1000 / period, 8: 1000 / period}
    else:
        batch = {
            n: 0.141 * network.params + 3.29 * network.lines + n * 1.084 * period for n in (1, 8)
        }
        latency = {n: 0.8 * ms for n, ms in batch.items()}
        fps = {n: 1000 * n / ms for n, ms in batch.items()}
    facts = {
        "name": name,
        "architecture": hw_arch.upper(),
        "contexts": parts,
        "latency_ms": latency,
        "fps": fps,
    }
    facts |= {
        "input": [network.height, network.width, network.channels],
        "classes": network.classes,
    }
    return b"simulated HEF\n" + json.dumps(facts).encode()
