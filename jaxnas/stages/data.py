"""Load and split the images."""

from dataclasses import asdict

from jaxnas.environment import environment
from jaxnas.progress import log
from jaxnas.stages.job import Job

SHOWN = 10  # classes without an image that are named


def run_data(job: Job) -> bool:
    """Write data.json, which says what the images are, and environment.json, who works on them; False if both are there."""
    run, data = job.run, job.data
    if run.exists("data.json") and run.exists("environment.json"):
        return False
    height, width = data.image_size
    sizes = {name: len(getattr(data, name)) for name in ("train", "search", "test", "calibration")}
    run.write_json("environment.json", environment())
    run.write_json(
        "data.json",
        {
            "name": data.name,
            "source": job.config.data.source,
            "height": height,
            "width": width,
            "channels": data.channels,
            "class_names": data.class_names,
            **sizes,
            "mean": data.mean,
            "deviation": data.deviation,
            **asdict(job.prepared),
            "fingerprint": data.fingerprint(),
        },
    )
    images = ", ".join(f"{count} {name}" for name, count in sizes.items())
    log(f"data: {data.name}, {data.classes} classes, {height}x{width}x{data.channels}; images: {images}")
    if unseen := data.unseen_classes:
        shown = ", ".join(map(str, unseen[:SHOWN])) + (", ..." if len(unseen) > SHOWN else "")
        which = f"{len(unseen)} of {data.classes} classes have no training image, numbers {shown}"
        log(f"data: {which}: number the classes from 0, without gaps")
    return True
