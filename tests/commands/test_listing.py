"""`jaxnas list`."""

import pytest

from jaxnas.commands.listing import KINDS, summary, told


def test_every_name_of_every_kind_is_told(cli):
    assert cli("list") == (0, [])
    said = cli.printed
    for kind, one in KINDS.items():
        assert f"{kind} (--{one.flag.replace('_', '-')})" in said
        for name in one.names:
            assert name in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_the_text_of_its_setting_and_a_line_for_each_name(kind):
    one = KINDS[kind]
    said = told(one)
    assert said.startswith(f"--{one.flag.replace('_', '-')}: ")
    assert one.described.endswith(".")
    for name, made in one.names.items():
        assert name.partition(":")[0] in said and summary(made) in said


@pytest.mark.parametrize("kind", ("spaces", "algorithms", "objectives", "sources", "formulations"))
def test_each_name_says_what_it_stands_for(kind):
    assert all(summary(made) for name, made in KINDS[kind].names.items() if name != "micro")


def test_settings_of_its_own_follow_an_algorithm():
    assert "settings: initial, predictor, acquisition" in told(KINDS["algorithms"])


def test_an_unknown_kind_gets_the_list(cli):
    code, errors = cli("list", "fruits")
    assert code == 2
    assert errors == [f"jaxnas: unknown kind of name 'fruits'; known: {', '.join(sorted(KINDS))}"]
