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
    known = ", ".join(sorted(KINDS))
    assert errors == [
        f"jaxnas: unknown kind of name 'fruits'; known: {known}, and the names of each, which "
        "jaxnas list prints"
    ]


def test_a_name_is_found_in_every_kind_that_has_it(cli):
    assert cli("list", "ppo") == (0, [])
    assert cli.printed.startswith("algorithms (--search.algorithm)\nppo  ")
    assert "settings: " in cli.printed and "nsga2" not in cli.printed
    cli("list", "pareto_rank")
    assert "methods\n--train.method: " in cli.printed
    assert "algorithms (--search.algorithm)\n" in cli.printed
    cli("list", "ssh")
    assert "ssh:HOST" in cli.printed


def test_a_name_that_is_not_there_gets_those_like_it(cli):
    assert cli("list", "nsga")[1][0].endswith("; did you mean nsga3 or nsga2?")
