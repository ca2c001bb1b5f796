"""Pooling over windows of `kernel` x `kernel` pixels, of which the padding is no part."""

from jaxnas.networks import windows
from jaxnas.networks.operators.operator import Operator

AVGPOOL = Operator(
    lambda op, arrays, x: windows.average_pool(x, op.kernel, op.stride, op.padding),
    channelwise=True,
)
"""The mean of the pixels within the map."""
MAXPOOL = Operator(
    lambda op, arrays, x: windows.max_pool(x, op.kernel, op.stride, op.padding), channelwise=True
)
"""The largest of the pixels within the map."""
