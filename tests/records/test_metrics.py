"""metrics.jsonl: figures of every method of training, and a line that no stage writes."""

import pytest

from jaxnas.errors import UserError
from jaxnas.records.metrics import append_metrics, read_metrics
from jaxnas.records.run_directory import RunDirectory


def test_a_method_without_a_largest_network_has_no_loss_of_it(tmp_path):
    with RunDirectory(tmp_path / "run") as run:
        append_metrics(run, {"stage": "train", "step": 1, "loss": 2.0})
        append_metrics(run, {"stage": "train", "step": 2, "loss": 1.5, "loss_largest": 1.0})
        assert [line.get("loss_largest") for line in read_metrics(run)] == [None, 1.0]
        append_metrics(run, {"stage": "train", "step": 3, "loss": 1.5, "loss_largest": "low"})
        with pytest.raises(UserError, match=r"^corrupt: .*metrics\.jsonl"):
            read_metrics(run)
