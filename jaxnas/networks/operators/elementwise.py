"""What combines two results number by number, and what changes none."""

from jaxnas.networks.operators.operator import Operator

ADD = Operator(lambda op, arrays, x, y: x + y, channelwise=True)
MUL = Operator(lambda op, arrays, x, y: x * y, channelwise=True)
"""The second input is broadcast."""
IDENTITY = Operator(lambda op, arrays, x: x, channelwise=True)
"""A norm by itself."""
