"""Question: how much slower is a training whose pictures are read from files as it goes on?

JPEG files of 256 pixels are made; the supernet `residual` is trained on them at 32 pixels, in turns
from memory and streamed, each time in a program of its own. Speeds are those of the last half of
an epoch. Memory is the peak, with that of the processes that read (Linux: proportional set sizes).

Commands: jaxnas train experiments/streaming.py --data.source folder:PATH   (one training)
          python experiments/streaming.py FOLDER   (all of them; pictures and runs are made in the
          folder; settings of jaxnas may follow, such as --data.scaled-decoding True)
Time: a minute a training on two quiet cores, and one to make the pictures.
Result: 0.86 times the speed from memory, one pair (README.md).
"""

import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from jaxnas.cli import told
from jaxnas.config import Config, DataConfig
from jaxnas.errors import UserError
from jaxnas.records.metrics import read_metrics
from jaxnas.records.run_directory import RunDirectory
from jaxnas.training.method import TrainConfig

PICTURES = 6400
SIDE = 256
CLASSES = 10
ROUNDS = 3
BAR = 0.8
config = Config(
    name="streaming",
    space="residual",
    data=DataConfig(image_size=32, search_images=400),
    train=TrainConfig(epochs=1, batch_size=64, random_subnets=1, log_seconds=2.0),
)


def picture(seed: int) -> bytes:
    """A JPEG file of about 20 kB: coarse colours under fine noise."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 12, 3), np.uint8))
    pixels = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    noisy = pixels + draw.normal(0, 12, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def make(folder: Path) -> None:
    """`PICTURES` files in folders of their classes, unless they are there."""
    for kind in range(CLASSES):
        (folder / f"class_{kind}").mkdir(parents=True, exist_ok=True)
    last = folder / f"class_{(PICTURES - 1) % CLASSES}" / f"{PICTURES - 1}.jpg"
    if last.exists():
        return
    with ThreadPoolExecutor() as pool:
        for seed, content in enumerate(pool.map(picture, range(PICTURES))):
            (folder / f"class_{seed % CLASSES}" / f"{seed}.jpg").write_bytes(content)


def trained(pictures: Path, run: Path, stream: str, settings: list[str]) -> tuple[float, float]:
    """Images a second, and MiB of memory at the peak."""
    data = [f"--data.source=folder:{pictures}", f"--data.stream={stream}", f"--out={run}"]
    experiment = f"{__file__}:config"
    command = [sys.executable, "-m", "jaxnas"]
    subprocess.run([*command, "data", experiment, *data, *settings], check=True)
    process = subprocess.Popen([*command, "train", str(run)])
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory_mib(process.pid))
        time.sleep(1)
    if process.returncode:
        raise UserError(f"the training in {run} ended with {process.returncode}: see above")
    lines = [line for line in read_metrics(RunDirectory(run)) if "images_per_s" in line]
    later = [line["images_per_s"] for line in lines if line["step"] > lines[-1]["step"] / 2]
    return median(later), peak


def memory_mib(pid: int) -> float:
    """Of a process and its children; 0 where the system does not say."""
    found = 0.0
    for task in [pid, *children(pid)]:
        try:
            rolled = Path(f"/proc/{task}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:  # it has just ended
            continue
        found += sum(int(line.split()[1]) for line in rolled.splitlines() if line[:4] == "Pss:")
    return found / 1024


def children(pid: int) -> list[int]:
    """All processes that descend from this one."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            own = [int(child) for child in file.read_text(encoding="utf-8").split()]
        except OSError:
            continue
        found += [task for child in own for task in (child, *children(child))]
    return found


def main(folder: str = "", *settings: str) -> int:
    """Prints speeds, memory and their ratio; 1 if it misses the bar."""
    if not folder:
        raise UserError("expected a folder for pictures and runs: name one")
    root = Path(folder).absolute()
    make(root / "pictures")
    speeds: dict[str, list[float]] = {"never": [], "always": []}
    peaks: dict[str, list[float]] = {"never": [], "always": []}
    for turn in range(ROUNDS):
        for stream in speeds:
            run = root / "runs" / f"{time.time_ns()}_{turn}_{stream}"
            speed, peak = trained(root / "pictures", run, stream, list(settings))
            speeds[stream].append(speed)
            peaks[stream].append(peak)
    for stream, name in {"never": "in memory", "always": "streamed"}.items():
        row = ", ".join(f"{speed:.0f}" for speed in speeds[stream])
        print(f"{name}: {row} images/s, at most {max(peaks[stream]):.0f} MiB", flush=True)
    ratios = [a / b for a, b in zip(speeds["always"], speeds["never"], strict=True)]
    met = median(ratios) >= BAR
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"ratio {median(ratios):.2f} ({spread}), bar {BAR}: {'met' if met else 'MISSED'}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(told(lambda: main(*sys.argv[1:])))
