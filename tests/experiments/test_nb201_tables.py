import pickle
import shutil
import zipfile
from itertools import product

import numpy as np
import pytest

from jaxnas.errors import UserError
from jaxnas.hardware.tables import load
from jaxnas.spaces.nasbench201 import OPERATIONS, nasbench201


@pytest.fixture(scope="module")
def converter(experiment):
    return experiment("nb201_tables")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both public files in their forms, with figures that say which cell they are of."""
    folder = tmp_path_factory.mktemp("sources")
    columns = "CIFAR10TestAccuracy200Epochs,CIFAR100TestAccuracy200Epochs"
    lines = [f"{columns},ImageNetTestAccuracy200Epochs,ArchitectureString,UniqueString"]
    for i, (a, b, c, d, e, f) in enumerate(product(OPERATIONS, repeat=6)):
        cell = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        lines.append(f"{i / 200},{i / 300},{i / 400},{cell},x")
    (folder / "nats_bench.csv").write_text("\n".join(lines))
    for name, count in (("pi", 5**6), ("short", 7)):
        write_list(folder / f"{name}.pt", [float(i) for i in range(count)])
    return folder


@pytest.fixture
def sources(made, tmp_path):
    """A copy, to be spoiled."""
    return shutil.copytree(made, tmp_path / "sources")


def write_list(path, content):
    """As torch.save writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))


def test_the_table_has_every_cell_with_its_figures(converter, sources):
    assert converter.main(str(sources / "nats_bench.csv"), str(sources), str(sources / "t")) == 0
    space = nasbench201()
    genome = np.array([[3, 0, 1, 4, 2, 0]])
    row = int(np.ravel_multi_index(tuple(genome[0]), (5,) * 6))
    for column, figure in (("test_acc_cifar10", row / 200), ("latency_ms_pi", float(row))):
        table = load(sources / "t", column, space)
        assert float(table(genome)[0]) == pytest.approx(figure)
    assert "latency_ms_short" not in np.load(sources / "t").files


def test_a_file_that_would_run_something_is_refused(converter, sources):
    class Hostile:
        def __reduce__(self):
            return print, ("run",)

    write_list(sources / "pi.pt", Hostile())
    with pytest.raises(UserError, match="should hold a list of numbers"):
        converter.main(str(sources / "nats_bench.csv"), str(sources), str(sources / "t"))
    assert not (sources / "t").exists()


def test_another_csv_is_refused(converter, sources):
    (sources / "nats_bench.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"is no nats_bench.csv"):
        converter.main(str(sources / "nats_bench.csv"), str(sources), str(sources / "t"))
