"""A user's own space from a file: the space it describes, and one line for every mistake."""

import json

import pytest

from jaxnas.errors import UserError
from jaxnas.spaces import toml
from jaxnas.spaces.fire_structure import Fire, FireStage
from jaxnas.spaces.hierarchical_structure import Hierarchical, HierarchicalStage
from jaxnas.spaces.mobilenet import MobileNet, Stage
from jaxnas.spaces.residual_structure import Residual, ResidualStage

SMALL = """
first_widths = [8, 16]
first_stride = 2
last_widths = [32]
stages = [
    {widths = [8, 16], depths = [1, 2], kernels = [3, 5], expands = [1], stride = 2, \
operator = "fused_mbconv", activation = "relu"},
    {widths = [16, 24], depths = [1, 2], kernels = [3, 5], expands = [2, 3], stride = 1, \
squeeze_excite = true},
]
"""
STAGES = (
    Stage((8, 16), (1, 2), (3, 5), (1,), 2, operator="fused_mbconv", activation="relu"),
    Stage((16, 24), (1, 2), (3, 5), (2, 3), 1, squeeze_excite=True),
)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads a text as small.toml, for images of 16 pixels, grey, of 5 classes."""
    monkeypatch.chdir(tmp_path)

    def load(text: str):
        (tmp_path / "small.toml").write_text(text)
        return toml.load("small.toml", 16, 1, 5)

    return load


def test_a_file_is_the_same_as_python(load):
    space = load(SMALL)
    assert space.name == "small"
    assert space.structure == MobileNet((16,), (8, 16), 2, STAGES, (32,), 1, 5)
    assert space.size() == 2 * (2 * 2 * 2) * (2 * 2 * 2 * 2)


def test_every_other_setting(load):
    more = (
        "resolutions = [12, 24]\n"
        'activation = "hard_swish"\n'
        'shortcut = "identity"\n'
        "per_block = true\n"
        "kernel_transform = true\n"
    )
    assert load(more + SMALL).structure == MobileNet(
        (12, 24), (8, 16), 2, STAGES, (32,), 1, 5, "hard_swish", "identity", True, True
    )


OTHERS = {
    "residual": (
        """last_widths = [16]
        stages = [{widths = [16], depths = [1, 2], kernels = [3], block = "single"}]""",
        Residual(
            (16,), (8,), 2, (ResidualStage((16,), (1, 2), (3,), block="single"),), (16,), 1, 5
        ),
    ),
    "hierarchical": (
        """last_widths = [16]
        stages = [{widths = [8], depths = [1], operators = ["mbconv", "conv"], squeezes = [0]}]""",
        Hierarchical(
            (16,),
            (8,),
            2,
            (HierarchicalStage((8,), (1,), operators=("mbconv", "conv"), squeezes=(0,)),),
            (16,),
            1,
            5,
        ),
    ),
    "fire": (
        """norm = false
        stages = [{squeezes = [8], expands_1x1 = [8], expands_3x3 = [8, 16], depths = [1]}]""",
        Fire((16,), (8,), 2, (FireStage((8,), (8,), (8, 16), (1,)),), 1, 5, norm=False),
    ),
}


def test_other_families(load):
    assert {"mobilenet", *OTHERS} == {*toml.FAMILIES}
    for family, (text, structure) in OTHERS.items():
        head = f'family = "{family}"\nfirst_widths = [8]\nfirst_stride = 2\n'
        space = load(head + text)
        assert space.structure == structure
        assert space.completed(json.loads(json.dumps(space.settings))).keys() >= {"stages"}


def test_stages_as_tables(load):
    space = load("""
        first_widths = [8, 16]
        first_stride = 2
        last_widths = [32]
        [[stages]]
        widths = [8, 16]
        depths = [1, 2]
        kernels = [3, 5]
        expands = [1]
        stride = 2
        operator = "fused_mbconv"
        activation = "relu"
        [[stages]]
        widths = [16, 24]
        depths = [1, 2]
        kernels = [3, 5]
        expands = [2, 3]
        stride = 1
        squeeze_excite = true
    """)
    assert space.structure == load(SMALL).structure


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("first_stride = 2\n", "", "small.toml: first_stride is missing, expected a whole number"),
        (
            "last_widths",
            "lastwidths",
            (
                "small.toml: unknown setting lastwidths; known: resolutions, first_widths, "
                "first_stride, last_widths, "
            ),
        ),
        (
            "first_stride = 2",
            "first_stride = 2\nclasses = 5",
            "small.toml: unknown setting classes; known: ",
        ),
        (
            "first_widths = [8, 16]",
            "first_widths = 8",
            "small.toml: first_widths must be a list of whole numbers, got 8",
        ),
        (
            "first_widths = [8, 16]",
            "first_widths = [8, 16.5]",
            "small.toml: first_widths must be a list of whole numbers, got [8, 16.5]",
        ),
        (
            "first_widths = [8, 16]",
            "first_widths = [8, 12]",
            "small.toml: first_widths must be multiples of 8, got (8, 12)",
        ),
        (
            "first_stride = 2",
            "first_stride = true",
            "small.toml: first_stride must be a whole number, got True",
        ),
        ("= true", "= 1", "small.toml: stage 2: squeeze_excite must be true or false, got 1"),
        ('"relu"', "1", "small.toml: stage 1: activation must be a string, got 1"),
        (
            '"relu"',
            '"gelu"',
            (
                "small.toml: stage 1: activation must be one of relu, relu6, swish, hard_swish, "
                "got 'gelu'"
            ),
        ),
        (
            "depths = [1, 2]",
            "depth = [1, 2]",
            (
                "small.toml: stage 1: unknown setting depth; known: widths, depths, kernels, "
                "expands, stride, "
            ),
        ),
        (
            "kernels = [3, 5], expands = [2, 3]",
            "expands = [2, 3]",
            "small.toml: stage 2: kernels is missing, expected a list of whole numbers",
        ),
        (
            "kernels = [3, 5]",
            "kernels = [4]",
            "small.toml: stage 1: a stage's kernels must be odd, got (4,)",
        ),
        (
            "stages =",
            "stage =",
            "small.toml: stages must be a list of tables like {widths = [16, 24], ...}, got None",
        ),
        (
            "last_widths = [32]",
            "last_widths = [40000000]",
            "small.toml: last_widths must be at most 65536, got 40000000",
        ),
        ("first_widths =", "first_widths", "small.toml is no TOML file: "),
        ("first_stride = 2", "first_stride = " + "9" * 5000, "small.toml is no TOML file: "),
        ("first_stride = 2", "first_stride = " + "[" * 100_000, "small.toml is no TOML file: "),
        (
            "depths = [1, 2]",
            "depths = [1, 100000]",
            "small.toml: stage 1: a stage's depths must be at most 100, got 100000",
        ),
    ],
)
def test_mistakes_are_one_line(load, old, new, message):
    with pytest.raises(UserError) as error:
        load(SMALL.replace(old, new, 1))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_more_combinations_than_a_table_holds(load):
    """Each combination of a part's choices would be counted."""
    many = ", ".join(str(8 * width) for width in range(1, 400))
    with pytest.raises(
        UserError,
        match=(
            r"small.toml: part mb2/block0 has \d+ combinations of choices, more than 16384: give "
            r"its genes fewer"
        ),
    ):
        load(
            SMALL.replace("{widths = [8, 16]", f"{{widths = [{many}]").replace(
                "{widths = [16, 24]", f"{{widths = [{many}]"
            )
        )


def test_no_stages(load):
    with pytest.raises(UserError, match="a network needs at least one stage, got none"):
        load(SMALL[: SMALL.index("stages")] + "stages = []")


@pytest.mark.parametrize(
    "family, message",
    [("cells", "unknown .*family 'cells'; known: fire"), ("fire", "tables like {squeezes = ")],
)
def test_a_file_of_another_family_without_stages(load, family, message):
    with pytest.raises(UserError, match=message):
        load(f'family = "{family}"')


def test_a_file_that_is_not_there(load):
    with pytest.raises(
        UserError,
        match=r"cannot read the space missing\.toml: No such file or directory; name a \.toml file",
    ):
        toml.load("missing.toml", 16, 1, 5)


def test_a_file_that_is_not_text(load, tmp_path):
    (tmp_path / "small.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"small\.toml is no TOML file: "):
        toml.load("small.toml", 16, 1, 5)
