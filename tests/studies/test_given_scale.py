"""A reference point and a true front, as the command line gives them."""

import re

import pytest

from jaxnas.errors import UserError
from jaxnas.studies.given_scale import given_scale

OBJECTIVES = ("error", "cost")


@pytest.mark.parametrize("text", ["cost,other,error\n3,9,1\n2,9,4\n", "1,3\n4,2\n", "1,3\n\n4,2,9"])
def test_columns_are_found_by_name_or_in_order(tmp_path, text):
    (tmp_path / "front.csv").write_text(text)
    given = given_scale(OBJECTIVES, [9.0, 8.0], str(tmp_path / "front.csv"))
    assert given["front"].tolist() == [[1, 3], [4, 2]] and given["reference"] == (9.0, 8.0)


def test_what_is_not_given_is_left_to_the_problem():
    assert given_scale(OBJECTIVES, None, None) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cost,mistakes\n1,2\n", "must have the columns error, cost, got cost, mistakes"),
        ("1,2\n3,\n", "must hold a number for each of error, cost in every line"),
        ("1,2\n3\n", "must hold a number for each of error, cost in every line"),
        (None, "cannot be read"),
    ],
)
def test_a_file_without_a_front_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "front.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        given_scale(OBJECTIVES, None, str(tmp_path / "front.csv"))


def test_a_reference_has_a_number_for_each_objective():
    with pytest.raises(UserError, match=r"--reference must be 2 numbers, for error, cost, got 1"):
        given_scale(OBJECTIVES, [1.0], None)
