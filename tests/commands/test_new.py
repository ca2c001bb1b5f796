"""`jaxnas new`, and the quickstart by name."""

from dataclasses import replace

from jaxnas.experiment import QUICKSTART, load_config


def test_a_new_experiment_is_the_quickstart_under_another_name(cli, tmp_path):
    assert cli("new", "my.py") == (0, [])
    found = load_config("my.py")
    quickstart = load_config("quickstart")
    assert found.name == "my"
    assert replace(found, name="quickstart") == quickstart


def test_the_quickstart_goes_by_its_name():
    assert load_config("quickstart") == load_config(str(QUICKSTART))


def test_a_file_that_is_there_is_kept(cli, tmp_path):
    assert cli("new", "my.py")[0] == 0
    code, errors = cli("new", "my.py")
    assert (code, errors) == (2, ["jaxnas: my.py is there already: choose another name"])


def test_what_cannot_be_written_is_one_line(cli):
    for name in ("my.txt", "nowhere/my.py"):
        code, errors = cli("new", name)
        assert code == 2 and len(errors) == 1
