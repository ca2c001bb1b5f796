"""MLflow: a run of the experiment `jaxnas`, on the server that MLFLOW_TRACKING_URI names."""

import os
from importlib import import_module
from typing import Any

from jaxnas.errors import UserError, how_to_install
from jaxnas.loggers.writer import About, Line, scalars

TAG = "jaxnas.run"


class MLflow:
    """A resumed run goes on in the same place, which a tag tells."""

    def __init__(self, about: About):
        try:
            package = import_module("mlflow.tracking")
        except ImportError as error:
            raise UserError(
                f"loggers mlflow needs mlflow ({error}): {how_to_install('mlflow')}"
            ) from error
        self._connect = package.MlflowClient
        self._about = about
        self._client: Any = None
        self._run = ""

    def write(self, line: Line) -> None:
        if self._client is None:
            self._client = self._connect()
            self._run = self._started()
        found = scalars(line)
        milliseconds = round(1000 * line["time"])
        for name, value in found.values.items():
            self._client.log_metric(
                self._run, f"{found.group}/{name}", value, milliseconds, found.step
            )

    def _started(self) -> str:
        """The id of the run, which there may be already."""
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "jaxnas")
        known = self._client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else self._client.create_experiment(experiment)
        identity = self._about.identity
        if found := self._client.search_runs([place], f"tags.`{TAG}` = '{identity}'"):
            return found[0].info.run_id
        tags = {TAG: identity, "mlflow.runName": self._about.name}
        run = self._client.create_run(place, tags=tags).info.run_id
        for name, value in self._about.settings.items():
            self._client.log_param(run, name, value)
        return run
