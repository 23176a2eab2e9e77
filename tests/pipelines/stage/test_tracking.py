"""A run that is resumed logs each metric's steps once, however often each comes."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from pipelines.stage.tracking import tracked


def test_metrics_of_unlike_pace_are_each_logged_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for first in (1, 3):  # killed after step 4, resumed from a checkpoint before step 3
        with tracked("train", run_name="one", uri=uri, resume=True) as run:
            for step in range(first, first + 4):
                run.metrics({"val/bpp": step / 10}, step)
                if step % 3 == 0:
                    run.metrics({"train/loss": 1.0, "train/late": 0.0}, step)
    client = MlflowClient(uri)
    (found,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    steps = {
        name: [metric.step for metric in client.get_metric_history(found.info.run_id, name)]
        for name in found.data.metrics
    }
    assert steps == {"val/bpp": [1, 2, 3, 4, 5, 6], "train/loss": [3, 6], "train/late": [3, 6]}
