"""The files of a run: the stage that makes each, and the settings that its content depends on.

All that asks which stages there are, what they leave, or what a setting decides, asks this table.
It needs no library, so that `jaxnas --help` needs none.
"""

from dataclasses import dataclass

# In order, each with what its command does.
STAGES = {
    "data": "load and split the images",
    "train": "train the weight-sharing supernet",
    "profile": "measure the latency of subnets that cover the space",
    "predict": "fit the latency predictor",
    "search": "search accuracy against latency, random sampling beside; ask the device if wanted",
    "finetune": "choose networks of the front, and train each on its own",
    "export": "write the chosen networks as ONNX, with proof",
    "verify": "measure the exported networks again, and test them once",
    "report": "draw the report from the run's files",
}


HOW_READ = ("data.stream", "data.workers")  # which changes no image
OF_LATENCY = ("profile", "predict")  # which a search that minimises no latency needs not


@dataclass(frozen=True)
class Record:
    """A file of a run, or a folder of checkpoints.

    `settings` are those that its stage reads for it, whole sections or single ones, by dotted names
    (what earlier files hold is not named again); `but` are those of these sections that change
    nothing in it.
    """

    name: str
    made_by: str  # a stage
    settings: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    completes: bool = False  # its stage is done when it is there, and the next one can begin
    reported: bool = False  # the report needs it

    def depends_on(self, setting: str) -> bool:
        """Whether a setting, by its dotted name, decides what is in the file."""
        named = any(_within(setting, part) for part in self.settings)
        return named and not any(_within(setting, part) for part in (*self.but, *HOW_READ))


def _within(setting: str, part: str) -> bool:
    return setting == part or setting.startswith(f"{part}.")


# How often a training saves, and what it says meanwhile.
ASIDE = (
    "train.checkpoint_every",
    "train.checkpoint_minutes",
    "train.log_seconds",
    "train.evaluated_subnets",
)
SUPERNET = ("seed", "data", "space", "weights", "train")
TRAINED = ("seed", "latency_limit_ms", "data", "search", "train.class_weights", "export.precision")
SEARCH = (*TRAINED, "profile.device")
NETWORKS = (*TRAINED, "finetune")
DEVICE = ("profile", "export.target", "export.precision")
PREDICTOR = ("seed", "predict")

RECORDS = {
    record.name: record
    for record in (
        Record("config.json", "data", ("name",), reported=True),  # and holds all settings
        Record("space.json", "data", ("space", "data", "profile.device")),
        Record("inputs.json", "data", ("weights", "profile.device")),
        Record("environment.json", "data", reported=True),
        Record(
            "data.json",
            "data",
            ("seed", "data", "weights", "train.epochs"),
            completes=True,
            reported=True,
        ),
        Record("checkpoints/supernet", "train", SUPERNET, ASIDE, completes=True),
        Record("supernet.safetensors", "train", SUPERNET, ASIDE),
        Record("metrics.jsonl", "train", reported=True),  # to which later stages add lines
        Record("measurements.csv", "profile", ("seed", *DEVICE), completes=True, reported=True),
        Record("layers.csv", "profile", ("seed", *DEVICE)),
        Record("predictor.npz", "predict", PREDICTOR, completes=True),
        Record("predictions.csv", "predict", PREDICTOR, reported=True),
        Record("predictor.json", "predict", PREDICTOR, reported=True),
        Record("derived.json", "search", SEARCH),
        Record("candidates.npz", "search", SEARCH, reported=True),
        Record("random.npz", "search", SEARCH, completes=True, reported=True),
        Record("asked.csv", "search", (*SEARCH, *DEVICE)),
        Record("doubt.npz", "search", (*SEARCH, *DEVICE)),
        Record("selection.npz", "finetune", NETWORKS),
        Record("chosen.json", "finetune", NETWORKS, completes=True, reported=True),
        Record("checkpoints/NAME", "finetune", NETWORKS),
        Record("models/NAME.onnx", "export", ("name", "data", "search.images", "export")),
        Record("exported.csv", "export", ("data", "search.images", "export"), completes=True),
        Record("verified.csv", "verify", DEVICE, completes=True, reported=True),
        Record("answers.npz", "verify", ("export.target",)),
        Record("report.html", "report"),
    )
}


def made_by(stage: str) -> list[str]:
    """The names of the files that a stage makes."""
    return [record.name for record in RECORDS.values() if record.made_by == stage]


def left_before(stage: str) -> dict[str, str]:
    """{earlier stage: the file that is there once it is done}, in order."""
    earlier = list(STAGES)[: list(STAGES).index(stage)]
    return {
        record.made_by: record.name
        for record in RECORDS.values()
        if record.completes and record.made_by in earlier
    }


def decides(setting: str) -> list[str]:
    """The names of the files whose content depends on a setting, by its dotted name."""
    return [record.name for record in RECORDS.values() if record.depends_on(setting)]
