"""Kinds of operators by name. A kind of one's own is one more entry, and one in EMITTERS."""

from jaxnas.networks.operators.channels import SELECT
from jaxnas.networks.operators.concat import CONCAT
from jaxnas.networks.operators.conv import CONV
from jaxnas.networks.operators.elementwise import ADD, IDENTITY, MUL
from jaxnas.networks.operators.linear import FLATTEN, LINEAR
from jaxnas.networks.operators.operator import Operator
from jaxnas.networks.operators.pool import AVGPOOL2, MAXPOOL2, POOL
from jaxnas.networks.operators.shift import SHIFT
from jaxnas.networks.operators.window import AVGPOOL, MAXPOOL
from jaxnas.networks.operators.zero import ZERO

OPERATORS: dict[str, Operator] = {
    "conv": CONV,
    "linear": LINEAR,
    "pool": POOL,
    "avgpool2": AVGPOOL2,
    "mul": MUL,
    "add": ADD,
    "maxpool2": MAXPOOL2,
    "select": SELECT,
    "concat": CONCAT,
    "identity": IDENTITY,
    "zero": ZERO,
    "avgpool": AVGPOOL,
    "maxpool": MAXPOOL,
    "shift": SHIFT,
    "flatten": FLATTEN,
}
