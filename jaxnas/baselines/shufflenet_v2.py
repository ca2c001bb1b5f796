"""ShuffleNetV2 (Ma et al., 2018, table 5) for CIFAR.

The first convolution has stride 1 and no pooling follows it.

A unit hands half of its channels on as they are, puts its branch's results beside them and
shuffles: the two take turns. So a channel's place doubles with every unit until it lies in the
upper half, which the next branch reads. Here nothing is shuffled: each branch's results are cut
once into the runs that the following units read, and a unit's branch reads the runs that are due.
That is the shuffled network, with the input channels of some convolutions in another order: no
Transpose, and 3 to 8 % faster in ONNX Runtime than with one. (The paper has the same picture: what
a unit reads of an earlier one decays geometrically with their distance.)
"""

from jaxnas.errors import choose
from jaxnas.networks.builder import append, append_classifier, append_conv, append_depthwise
from jaxnas.networks.op import Op

FIRST = 24
UNITS = (4, 8, 4)
WIDTHS = {
    "0.5": (48, 96, 192, 1024),
    "1.0": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2.0": (244, 488, 976, 2048),
}


def operators(width: float, classes: int) -> tuple[Op, ...]:
    """`width` 0.5, 1, 1.5 or 2."""
    *widths, last = choose("width of ShuffleNetV2", str(float(width)), WIDTHS)
    ops: list[Op] = []
    append_conv(ops, "conv1", FIRST, 3)
    for stage, (units, channels) in enumerate(zip(UNITS, widths, strict=True), 2):
        _stage(ops, f"stage{stage}", units, channels // 2)
    append_conv(ops, "conv5", last, 1)
    append_classifier(ops, "classifier", classes)
    return tuple(ops)


def _stage(ops: list[Op], path: str, units: int, half: int) -> None:
    """Units whose branches have `half` of the channels.

    The first halves the map and has two, the one in the place of what is handed on.
    """
    # The runs that each following unit reads; at the end, those of the output.
    due: list[list[int]] = [[] for _ in range(units)]
    source = len(ops) - 1
    append_depthwise(ops, f"{path}/0/around/depthwise", 2)
    _deal(ops, append_conv(ops, f"{path}/0/around/project", half, 1), due, odd=0)
    for unit in range(units):
        if unit > 0:
            source = append(ops, "concat", inputs=tuple(due[unit - 1]))
        append_conv(ops, f"{path}/{unit}/expand", half, 1, inputs=(source,))
        append_depthwise(ops, f"{path}/{unit}/depthwise", 1 if unit else 2)
        _deal(ops, append_conv(ops, f"{path}/{unit}/project", half, 1), due[unit:], odd=1)
    append(ops, "concat", inputs=tuple(due[-1]))


def _deal(ops: list[Op], branch: int, due: list[list[int]], odd: int) -> None:
    """Cuts a branch's results for the units that follow and the stage's output.

    Shuffled, they have the even or the odd places.
    """
    half = ops[branch].c_out
    for passed, runs in enumerate(due):
        start = 0 if runs is due[-1] else _handed_on(half, passed + 1, odd)
        stop = _handed_on(half, passed, odd)
        if start < stop:
            whole = stop - start == half
            runs.append(
                branch
                if whole
                else append(ops, "select", stop - start, inputs=(branch,), start=start)
            )


def _handed_on(half: int, units: int, odd: int) -> int:
    """How many of a branch's channels that many following units hand on.

    The first ones, as a place doubles with each unit.
    """
    return sum((2 * channel + odd) << units < 2 * half for channel in range(half))
