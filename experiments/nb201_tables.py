"""Question: where does the table come from that the experiments on NAS-Bench-201 read?

From public files: `git clone https://github.com/v-tao/nats-bench-landscape` and `git clone
https://github.com/HayeonLee/HELP`.

Command: python experiments/nb201_tables.py nats-bench-landscape/nats_bench.csv
         HELP/data/nasbench201/latency nb201_tables.npz
Time: seconds. Then `export NB201_TABLES=nb201_tables.npz`.

nats_bench.csv has the test accuracies of NATS-Bench's topology space (Dong et al., TPAMI 2021)
after 200 epochs, a row a cell in the benchmark's order. The .pt files are lists of latencies in ms
in the same order, one a device: of HW-NAS-Bench (Li et al., ICLR 2021: raspi4, pixel3, eyeriss,
fpga) and of HELP (Lee et al., NeurIPS 2021: the others; the phones' in whole ms). Both are read as
data: nothing in them is executed.

The columns: `arch` (the operation of each edge), `test_acc_cifar10`, `test_acc_cifar100` and
`test_acc_imagenet16` in %, and `latency_ms_DEVICE` for each file with a latency of every cell.
"""

import csv
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from jaxnas.cli import told
from jaxnas.errors import UserError, cannot
from jaxnas.progress import log
from jaxnas.records.whole import write_whole
from jaxnas.spaces.nasbench201 import from_string
from jaxnas.weights.torch_pickle import Machine, Refused

CELLS = 5**6
ACCURACIES = {
    "test_acc_cifar10": "CIFAR10TestAccuracy200Epochs",
    "test_acc_cifar100": "CIFAR100TestAccuracy200Epochs",
    "test_acc_imagenet16": "ImageNetTestAccuracy200Epochs",
}


def accuracies(path: Path) -> dict[str, np.ndarray]:
    """The cells (n, 6) as `arch`, and the columns of `ACCURACIES`, (n,)."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        arch = np.array([from_string(row["ArchitectureString"]) for row in rows], np.int8)
        found = {
            name: np.array([float(row[key]) for row in rows]) for name, key in ACCURACIES.items()
        }
    except OSError as error:
        raise cannot("read", path, error) from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no nats_bench.csv ({error!r}): fetch it anew") from error
    if len(np.unique(arch, axis=0)) != CELLS:
        raise UserError(f"{path} should have each of {CELLS} cells once, got {len(rows)} rows")
    return {"arch": arch, **found}


def latencies(path: Path) -> np.ndarray | None:
    """The list of numbers in a file of torch.save, (cells,); None where it has another length."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            found = Machine().run(io.BytesIO(archive.read(name)))
    except OSError as error:
        raise cannot("read", path, error) from error
    except (Refused, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no list of latencies ({error}): fetch it anew") from error
    if not isinstance(found, list) or not all(isinstance(one, int | float) for one in found):
        raise UserError(f"{path} should hold a list of numbers: fetch it anew")
    return np.array(found, np.float64) if len(found) == CELLS else None


def main(accuracy_file: str, latency_folder: str, table: str) -> int:
    """Writes the table and says what it has."""
    columns = accuracies(Path(accuracy_file))
    files = sorted(Path(latency_folder).glob("*.pt"))
    if not files:
        raise UserError(f"{latency_folder} has no .pt file: name HELP's data/nasbench201/latency")
    for path in files:
        found = latencies(path)
        if found is None:
            log(f"left out: {path.name} has no latency of every cell")
        else:
            columns[f"latency_ms_{path.stem}"] = found
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **columns)
    write_whole(Path(table), packed.getvalue())
    log(f"{table}: {CELLS} cells, {', '.join(columns)}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("expected nats_bench.csv, HELP's latency folder, and the file to write")
    sys.exit(told(lambda: main(*sys.argv[1:])))
