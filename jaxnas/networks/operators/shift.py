"""The map without its first row and column, whose even pixels are the odd ones."""

from jaxnas.networks.operators.operator import Operator

SHIFT = Operator(
    lambda op, arrays, x: x[:, 1:, 1:], side=lambda size, op: size - 1, channelwise=True
)
"""N, H, W, C -> N, H - 1, W - 1, C: the other half of a factorised reduction."""
