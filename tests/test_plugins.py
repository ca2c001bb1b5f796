"""Names of a user's own things."""

import re
from typing import Any

import pytest

from jaxnas import plugins
from jaxnas.errors import UserError

KNOWN: dict[str, Any] = {"tiny": 1, "cifar": 2}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def my_space(size, channels, classes):\n    return size\n\n\nthing = 5\n")
    return path


def test_known_names_come_first():
    assert plugins.find("space", "tiny", KNOWN) == 1


def test_a_thing_of_a_file_and_of_a_package(file):
    assert plugins.find("space", f"{file}:my_space", KNOWN)(32, 3, 10) == 32
    assert plugins.find("space", f"{file}:thing", KNOWN) == 5
    assert plugins.find("space", "jaxnas.plugins:find", KNOWN) is plugins.find


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge", "unknown space 'huge'; known: cifar, tiny, and your own as file.py:name"),
        ("tiny:0.5", "unknown space 'tiny:0.5'; known: cifar, tiny"),
        ("{file}:other", "has no 'other', which space"),
        ("none.py:x", "there is no file none.py"),
        ("jaxnas.nothing:x", "cannot import jaxnas.nothing"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(file, name, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        plugins.find("space", name.format(file=file), KNOWN)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_run(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"broken\.py does not run: ZeroDivisionError"):
        plugins.find("space", f"{path}:x", KNOWN)


def test_a_function_is_known_by_its_file(file):
    function = plugins.find("space", f"{file}:my_space", KNOWN)
    assert plugins.named(function) == f"{file}:my_space"
    assert plugins.named("tiny") == "tiny"
    with pytest.raises(UserError, match="at the top of a file"):
        plugins.named(lambda: None)
