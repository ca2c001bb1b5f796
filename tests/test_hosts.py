"""Two processes on one machine do what one does, with one set of files."""

import os
import signal
import socket
import time

import numpy as np
import pytest

from jaxnas import hosts
from jaxnas.errors import UserError
from jaxnas.records.candidates import CANDIDATES, read_searched
from jaxnas.records.run_directory import RunDirectory


class Store:
    """The key-value store of a coordination service, in memory."""

    def __init__(self):
        self.values = {}
        self.gone = False

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self.values
        self.values[key] = value

    def key_value_delete(self, key):
        del self.values[key]

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.values.items() if key.startswith(folder)]

    def blocking_key_value_get(self, key, timeout_in_ms):
        if self.gone:
            raise RuntimeError("UNAVAILABLE: Socket closed\n at line 3")
        if key not in self.values:
            raise RuntimeError("DEADLINE_EXCEEDED: GetKeyValue() timed out")
        return self.values[key]

    def wait_at_barrier(self, name, timeout_in_ms):
        self.values[name] = "reached"


@pytest.fixture
def place(monkeypatch):
    """Makes this process the one of an index, of two that share a store."""
    store = Store()

    def take(index):
        monkeypatch.setattr(hosts, "_group", groups[index])
        return store

    groups = [hosts._Group(store, index, 2) for index in range(2)]
    return take


def test_followers_hear_in_order_what_the_leader_tells(place):
    place(0)
    assert hosts.count() == 2 and not hosts.follows()
    hosts.tell("errors", number=3)
    assert list(hosts.led(iter("ab"))) == ["a", "b"]
    hosts.leave(143)
    hosts.tell("late")  # of a generator that is closed after the last word
    store = place(1)
    assert hosts.follows()
    assert hosts.heard() == {"work": "errors", "number": 3}
    works = [hosts.heard()["work"] for _ in range(4)]
    assert works == [hosts.STEP, hosts.STEP, hosts.STEP, hosts.STOP]
    with pytest.raises(hosts.Ended) as ended:
        hosts.heard()
    assert ended.value.code == 143 and store.values["jaxnas/end"] == "reached"


def test_a_computation_that_is_left_is_stopped_for_all(place):
    place(0)
    steps = hosts.led(iter("abc"))
    assert next(steps) == "a"
    steps.close()
    place(1)
    assert [hosts.heard()["work"] for _ in range(2)] == [hosts.STEP, hosts.STOP]


def test_who_cannot_follow_is_an_error_of_all(place):
    place(1)
    hosts.answer("no such file")
    place(0)
    with pytest.raises(UserError, match="process 1: no such file"):
        hosts.check_answers()
    place(1)
    hosts.answer("")
    place(0)
    hosts.check_answers()


def test_a_signal_of_a_follower_reaches_the_leader_and_a_lost_one_is_an_error(place, monkeypatch):
    monkeypatch.setattr(hosts, "POLL_S", 0)
    store = place(1)
    calls = iter([None, 15])

    def asked():
        number = next(calls, 15)
        store.gone = "jaxnas/asked/1" in store.values
        return number

    with pytest.raises(UserError, match=r"another process is gone, .*\(UNAVAILABLE: Socket closed"):
        hosts.heard(asked)
    assert store.values == {"jaxnas/asked/1": "15"}
    place(0)
    sent = []
    monkeypatch.setattr(hosts.os, "kill", lambda pid, number: sent.append((pid, number)))
    hosts.tell("train")
    assert sent == [(os.getpid(), 15)] and "jaxnas/asked/1" not in store.values


@pytest.mark.parametrize("text", ["here", "host:1,2", "host:1,2,2", "host,2,1", "host:1,2,-1"])
def test_what_names_no_place_is_refused(text):
    with pytest.raises(UserError, match="--distributed must be auto or HOST:PORT,COUNT,INDEX"):
        hosts.join(text)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Pair:
    """Both processes of a run."""

    def __init__(self, start, *arguments):
        address = f"127.0.0.1:{free_port()}"
        self.first, self.second = (
            start(*arguments, "--distributed", f"{address},2,{index}") for index in range(2)
        )

    def end(self):
        """Their exit codes and what they said."""
        said = [one.communicate(timeout=400)[1] for one in (self.first, self.second)]
        return [self.first.returncode, self.second.returncode], said


def arguments(micro, out):
    return ("run", micro, "--out", out, "--search.objectives", "error", "mmacs")


def trained(out) -> dict:
    """The fitness that the search found, and the weights."""
    from safetensors.numpy import load_file

    searched = read_searched(RunDirectory(out), CANDIDATES)
    return {
        "genomes": searched.archive.genomes,
        "fitness": searched.archive.fitness,
        **load_file(out / "supernet.safetensors"),
    }


@pytest.mark.slow
def test_two_processes_find_what_one_does_and_go_on_after_either_is_killed(
    start, micro, tmp_path, monkeypatch
):
    monkeypatch.delenv("JAX_DEBUG_KEY_REUSE")
    one = start(*arguments(micro, tmp_path / "one"))
    assert one.communicate()[1] and one.returncode == 0
    expected = trained(tmp_path / "one")

    out = tmp_path / "two"
    for victim, step in (("second", 4), ("first", 8)):
        pair = Pair(start, *arguments(micro, out))
        deadline = time.monotonic() + 300
        while not (out / f"checkpoints/supernet/{step}").exists():
            assert time.monotonic() < deadline and pair.first.poll() is None
            time.sleep(0.05)
        getattr(pair, victim).kill()
        codes, _ = pair.end()
        assert all(codes)
    pair = Pair(start, *arguments(micro, out))
    codes, said = pair.end()
    assert codes == [0, 0], said
    assert not any("jaxnas:" in line for line in said[1].splitlines())
    found = trained(out)
    assert sorted(os.listdir(out)) == sorted(os.listdir(tmp_path / "one"))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_a_signal_to_either_has_the_first_save_and_both_end(start, micro, tmp_path):
    pair = Pair(start, *arguments(micro, tmp_path), "--train.epochs", "50")
    deadline = time.monotonic() + 300
    while not (tmp_path / "checkpoints/supernet/4").exists():
        assert time.monotonic() < deadline and pair.first.poll() is None
        time.sleep(0.05)
    pair.second.send_signal(signal.SIGTERM)
    codes, said = pair.end()
    assert codes == [143, 143], said
    assert "terminated; the same command goes on from here" in said[0]


@pytest.mark.slow
def test_another_command_is_refused_by_all(start, micro, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    common = arguments(micro, tmp_path)
    first = start(*common, "--distributed", f"{address},2,0")
    second = start(*common, "--seed", "5", "--distributed", f"{address},2,1")
    said = [one.communicate(timeout=300)[1] for one in (first, second)]
    assert [first.returncode, second.returncode] == [2, 2]
    assert all("settings and images are not those of the first" in text for text in said)
