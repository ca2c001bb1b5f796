"""A teacher lighter than those it teaches."""

from jaxnas.spaces.nasbench201 import nasbench201
from jaxnas.spaces.published import tiny
from jaxnas.training.sandwich import Sandwich
from jaxnas.training.shrinking import Shrinking
from jaxnas.training.single_path import SinglePath
from jaxnas.training.teacher import caution


def test_a_teacher_of_poolings_alone_is_warned_of():
    cells = nasbench201(8, 1, 10, cells=1, width=8)
    for method in (Sandwich(), Shrinking()):
        assert "spos and fairnas need no teacher" in str(caution(method, cells))
        assert caution(method, tiny(16, 1, 10)) is None
    assert caution(SinglePath(), cells) is None
