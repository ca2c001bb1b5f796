"""`Op`: one operator of a network, or of many networks at once."""

from dataclasses import dataclass

from jaxnas.errors import UserError
from jaxnas.networks.sizes import PADDINGS
from jaxnas.types import Size

INPUT = "input"  # what a part reads: the result of an earlier part, or the image
PICK = "pick"  # one of several results, by a gene's choice


@dataclass(frozen=True)
class Op:
    """One operator, in order of execution; convolution, norm and activation are one.

    `kind` is a key of `networks.operators.OPERATORS`. Sizes are those of the output. `padding` is
    "same", reach // 2 pixels on every side; "valid", none; of poolings also "ceil", none but what
    the last window lacks. Of one network all sizes are ints. Where a part of a space is described
    (`spaces.space.Part`), sizes may be arrays, an entry for each network, and two more kinds occur:
    `input` stands for what the part reads, and `pick` is its input number `choice`.
    """

    kind: str
    path: str  # where its weights lie in params and stats: "mb2/block1/expand"; "" = none
    inputs: tuple[int, ...]  # positions in the list of operators; -1 is the image
    height: Size
    width: Size
    c_in: Size
    c_out: Size
    kernel: Size = 1
    stride: int = 1
    groups: Size = 1
    norm: bool = False
    bias: bool = False
    act: str = ""  # a key of networks.activations.ACTIVATIONS
    start: int = 0  # of select: its first channel, may be negative
    repeat: Size = 1  # 0 where the network does not have the operator
    choice: Size = 0  # of pick: the position of an input
    transforms: tuple[int, ...] = ()  # smaller kernels that a learned matrix makes of the larger
    dilation: int = 1  # pixels from one tap of a convolution to the next
    padding: str = "same"  # one of networks.sizes.PADDINGS
    own: tuple[int, ...] = ()  # smaller kernels with weights beside the next larger one's centre

    def __post_init__(self):
        if self.padding not in PADDINGS:
            raise UserError(
                f"{self.path or self.kind}: padding must be one of {', '.join(PADDINGS)}, got "
                f"{self.padding!r}"
            )
        if not all(isinstance(size, int) for size in (self.groups, self.c_in, self.c_out)):
            return
        if self.groups < 1 or self.c_in % self.groups or self.c_out % self.groups:
            raise UserError(
                f"{self.path or self.kind}: groups must divide the channels in and out, got "
                f"{self.groups} groups of {self.c_in} channels in and {self.c_out} out: choose a "
                "divisor of both"
            )

    @property
    def reach(self) -> Size:
        """Pixels from a window's first to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def macs(self) -> Size:
        """Multiply-adds, counted once; operators without weights count 0, as the papers do."""
        from jaxnas.networks.operators import OPERATORS  # which are told about `Op`

        return OPERATORS[self.kind].macs(self)

    @property
    def params(self) -> Size:
        """Weights, biases, and the scale and shift of the norm (not its statistics)."""
        from jaxnas.networks.operators import OPERATORS

        return OPERATORS[self.kind].params(self) + self.c_out * self.extras

    @property
    def extras(self) -> int:
        """Numbers stored for each output channel beside the weights: bias 1, norm 2."""
        return self.bias + 2 * self.norm
