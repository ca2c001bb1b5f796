"""`Op`: one operator of one network."""

from dataclasses import dataclass

from jaxnas.errors import UserError

CONV, LINEAR, POOL, AVGPOOL2, MUL, ADD, MAXPOOL2, SELECT, CONCAT, IDENTITY = range(10)
KINDS = (
    "conv",
    "linear",
    "pool",
    "avgpool2",
    "mul",
    "add",
    "maxpool2",
    "select",
    "concat",
    "identity",
)


@dataclass(frozen=True)
class Op:
    """One operator of a network, in order of execution; convolution, norm and activation are one.

    `kind` is one of `KINDS`: `pool` is the global average (N, H, W, C -> N, 1, 1, C), `avgpool2`
    halves height and width (odd sizes round up), `mul` broadcasts its second input, `linear` sees
    N, 1, 1, C and returns N, C. `maxpool2` halves them too (an odd size's last row is
    dropped), `select` takes every `stride`-th pixel of the channels from `start` on, zeros where
    the input has none, `concat` joins its inputs' channels, `identity` is a norm by itself.
    Convolutions pad by kernel // 2 on every side. Sizes are those of the output.
    """

    kind: str
    path: str  # where its weights live in params and stats: "mb2/block1/expand"; "" = none
    inputs: tuple[int, ...]  # positions in the list of operators; -1 is the image
    height: int
    width: int
    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    norm: bool = False
    bias: bool = False
    act: str = ""  # "", relu, relu6, swish, hard_swish, hard_sigmoid
    start: int = 0  # of select, may be negative

    def __post_init__(self):
        if self.groups < 1 or self.c_in % self.groups or self.c_out % self.groups:
            raise UserError(
                f"{self.path or self.kind}: groups must divide the channels in and out, got "
                f"{self.groups} groups of {self.c_in} channels in and {self.c_out} out: choose a "
                "divisor of both"
            )

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers, counted once.

        The rest count 0, as the papers do.
        """
        if self.kind not in ("conv", "linear"):
            return 0
        return self.height * self.width * self.c_out * (self.c_in // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        """Weights, biases, and the scale and shift of the norm (not its statistics)."""
        weighted = self.kind in ("conv", "linear")
        weights = weighted * self.c_out * (self.c_in // self.groups) * self.kernel**2
        return weights + self.c_out * self.bias + 2 * self.c_out * self.norm
