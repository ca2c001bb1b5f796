import os
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnas.records import cache as caches
from jaxnas.records.cache import Store, digest, source_digest
from jaxnas.stages.evaluation import stored

GENES = 5


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))


def genomes(n, seed=0):
    return (
        np.random.default_rng(seed).permutation(5**GENES)[:n, None].astype(np.int32)
        // 5 ** np.arange(GENES, dtype=np.int32)
        % 5
    )


def fitness(genomes):
    """Two figures that name the genome."""
    return np.stack([genomes @ 5.0 ** np.arange(GENES), genomes.sum(axis=1) / 3], axis=1).astype(
        np.float32
    )


def test_what_is_put_is_found_by_others_and_by_name():
    rows = genomes(40)
    found, known = Store("a", GENES, 2).get(rows)
    assert (
        np.isnan(found).all()
        and not known.any()
        and found.dtype == np.float32
        and found.shape == (40, 2)
    )
    first = Store("a", GENES, 2)
    first.put(rows[:25], fitness(rows[:25]))
    for one in (first, Store("a", GENES, 2)):
        found, known = one.get(rows[::-1])
        assert known.tolist() == [False] * 15 + [True] * 25
        np.testing.assert_array_equal(found[15:], fitness(rows[:25])[::-1])
    assert not Store("b", GENES, 2).get(rows)[1].any()
    assert first.get(rows[:0])[0].shape == (0, 2)


def test_a_failed_evaluation_is_not_kept():
    rows = genomes(3)
    values = fitness(genomes(3))
    values[1, 0] = np.nan
    one = Store("a", GENES, 2)
    one.put(rows, values)
    assert one.get(rows)[1].tolist() == [True, False, True]
    one.put(rows[1:2], values[1:2])
    assert not one.get(rows[1:2])[1].any()


def test_the_first_value_stays_and_others_see_it():
    one = Store("a", GENES, 2)
    other = Store("a", GENES, 2)
    rows = genomes(2)
    assert not other.get(rows)[1].any()
    one.put(rows, fitness(rows))
    other.put(rows, fitness(rows) + 1)
    for each in (one, other, Store("a", GENES, 2)):
        np.testing.assert_array_equal(each.get(rows)[0], fitness(rows))


def test_every_cut_leaves_the_whole_records_before_it():
    rows = genomes(4)
    Store("a", GENES, 2).put(rows, fitness(rows))
    path = Store("a", GENES, 2).path
    data = path.read_bytes()
    size = len(data) // 4
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        one = Store("a", GENES, 2)
        assert one.get(rows)[1].tolist() == [i < cut // size for i in range(4)]
        one.put(rows[3:], fitness(rows[3:]))
        found, known = Store("a", GENES, 2).get(rows)
        assert known.tolist() == [i < cut // size or i == 3 for i in range(4)]
        np.testing.assert_array_equal(found[known], fitness(rows)[known])


def test_a_damaged_byte_loses_its_record_alone():
    rows = genomes(3)
    Store("a", GENES, 2).put(rows, fitness(rows))
    path = Store("a", GENES, 2).path
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :])
        found, known = Store("a", GENES, 2).get(rows)
        assert known.tolist() == [row != i // (len(data) // 3) for row in range(3)]
        np.testing.assert_array_equal(found[known], fitness(rows)[known])


def test_a_store_deleted_under_way_begins_anew():
    one = Store("a", GENES, 2)
    rows = genomes(4)
    one.put(rows[:3], fitness(rows[:3]))
    assert one.get(rows)[1].sum() == 3
    one.path.unlink()
    one.put(rows[3:], fitness(rows[3:]))
    assert one.get(rows)[1].all()
    assert Store("a", GENES, 2).get(rows)[1].tolist() == [False, False, False, True]


WRITER = """
import sys
import numpy as np
from jaxnas.stages.evaluation import stored
from jaxnas.records.cache import Store
rows = np.load(sys.argv[1])
for i in range(0, len(rows), 3):
    Store("shared", 5, 1).put(rows[i : i + 3], rows[i : i + 3, :1].astype(np.float32))
"""


def test_processes_share_a_store(tmp_path):
    writers = []
    for seed in range(2):
        np.save(tmp_path / f"{seed}.npy", genomes(600, seed))
        writers.append(subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / f"{seed}.npy"]))
    assert [writer.wait() for writer in writers] == [0, 0]
    one = Store("shared", GENES, 1)
    for seed in range(2):
        rows = genomes(600, seed)
        found, known = one.get(rows)
        assert known.all()
        np.testing.assert_array_equal(found, rows[:, :1])
    assert one.path.stat().st_size == 1200 * 4 * (GENES + 2)


def test_a_full_disk_is_said_once_and_leaves_whole_records(capsys):
    one = Store("a", GENES, 2)
    rows = genomes(40)
    one.put(rows[:10], fitness(rows[:10]))
    before = one.path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, old[1]))
    try:
        for part in (rows[10:30], rows[30:]):
            one.put(part, fitness(part))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    warning = capsys.readouterr().err
    assert (
        warning.count("\n") == 1
        and "going on without a cache: cannot use" in warning
        and "File too large" in warning
    )
    np.testing.assert_array_equal(one.get(rows)[0], fitness(rows))
    other = Store("a", GENES, 2)
    assert other.path.read_bytes() == before and other.get(rows)[1].sum() == 10


@pytest.mark.parametrize("how", ["file", "below", "null", "entry", "pipe"])
def test_a_cache_that_cannot_be_used_is_said_once_and_loses_nothing(
    capsys, monkeypatch, tmp_path, how
):
    rows = genomes(4)
    place = {"file": tmp_path / "file", "below": tmp_path / "file/x", "null": "/dev/null"}.get(
        how, tmp_path
    )
    (tmp_path / "file").write_text("mine")
    (tmp_path / "evaluations").mkdir()
    if how == "entry":
        (tmp_path / "evaluations/a").mkdir()
    if how == "pipe":
        os.mkfifo(tmp_path / "evaluations/a")
    monkeypatch.setenv("JAXNAS_CACHE", str(place))
    caches._warn.cache_clear()
    one = Store("a", GENES, 2)
    for part in (rows[:2], rows[2:]):
        assert not one.get(part)[1].any()
        one.put(part, fitness(part))
    np.testing.assert_array_equal(one.get(rows)[0], fitness(rows))
    assert capsys.readouterr().err.count("going on without a cache") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_name_is_no_name_and_a_home_is_not_needed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXNAS_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.cache_folder() == tmp_path / ".cache/jaxnas"

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(caches.Path, "home", no_home)
    caches._warn.cache_clear()
    one = Store("a", GENES, 2)
    rows = genomes(4)
    one.put(rows, fitness(rows))
    assert (
        one.get(rows)[1].all()
        and "no home folder for the cache: set JAXNAS_CACHE" in capsys.readouterr().err
    )
    monkeypatch.setenv("JAXNAS_CACHE", str(tmp_path / "cache"))
    assert caches.cache_folder() == tmp_path / "cache"


# What a search asks the store


def test_each_network_is_asked_for_once_and_failures_again(small_mobilenet):
    """In batches of one size, in which other rows have no resolution that exists."""
    space = small_mobilenet((8, 12), 1, 3)
    calls = []
    draw = np.array(space.sample(jax.random.key(0), 12))
    draw[5] = draw[1]
    draw[7] = draw[1]
    draw[7, [gene.name for gene in space.genes].index("mb2_kernel")] ^= 1
    failing = draw[2]

    def evaluate(asked):
        wanted = asked[:, space.static] >= 0
        calls.append(asked[wanted].tolist())
        assert asked.shape == draw.shape
        values = np.where(
            (asked == np.asarray(space.canonical(failing))).all(axis=1),
            np.nan,
            asked @ np.arange(len(space.genes)) + 1.0,
        )
        return np.where(wanted, values, np.nan)[:, None].astype(np.float32)

    canonical = np.asarray(space.canonical(draw))
    distinct = np.unique(canonical, axis=0).tolist()
    expected = evaluate(canonical)
    for _ in range(2):  # the second store reads what the first has left
        calls.clear()
        through = stored(Store("a", len(space.genes), 1), space, evaluate)
        for rows in (draw[::-1], draw):
            np.testing.assert_array_equal(
                through(rows), expected[::-1] if rows is not draw else expected
            )
    assert calls == [[space.canonical(failing).tolist()]] * 2 and len(distinct) < 12


# Digests


def test_a_digest_follows_values_not_containers():
    base = {"a": np.arange(6, dtype=np.int32), "b": {"c": 1, "d": ["x", 2.5, None, True]}}
    same = {"b": {"d": ("x", 2.5, None, True), "c": 1}, "a": jnp.arange(6, dtype=jnp.int32)}
    assert digest(base) == digest(same) and len(digest(base)) == 64
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert digest(fortran) == digest(np.ascontiguousarray(fortran))


@pytest.mark.parametrize(
    "one, other",
    [
        (np.arange(6), np.arange(6).reshape(2, 3)),
        (np.zeros(2, np.int32), np.zeros(2, np.float32)),
        (np.zeros(2, np.float32), np.array([0.0, 1e-45], np.float32)),
        (["ab", "c"], ["a", "bc"]),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"b": 1}),
        ({"a": {"b": 1}}, {"a": [{"b": 1}]}),
        (1, "1"),
    ],
)
def test_digests_tell_apart(one, other):
    assert digest(one) != digest(other)


def test_the_source_digest_follows_the_files_named(monkeypatch, tmp_path):
    monkeypatch.setattr(caches, "PACKAGE", tmp_path)
    (tmp_path / "spaces").mkdir()
    for name in ("spaces/space.py", "spaces/notes.txt", "objectives.py", "cli.py"):
        (tmp_path / name).write_text(name)

    def now():
        source_digest.cache_clear()
        return source_digest("spaces", "objectives.py")

    digests = [now()]
    for name in ("spaces/notes.txt", "cli.py"):
        (tmp_path / name).write_text("other")
        assert now() == digests[0]
    for name in ("spaces/space.py", "objectives.py", "spaces/new.py"):
        (tmp_path / name).write_text("other")
        digests.append(now())
    assert len(set(digests)) == 4
    source_digest.cache_clear()
