"""MLflow for the stages: SQLite in `runs/` by default, a server by URI, or none.

    with tracked("train", run_name=name, uri=options.tracking_uri, params=config) as run:
        run.metrics({"loss": 0.3}, step=10)
        run.artifact(path)

The store is reached before any work starts, and a dead server is a `StorageError` within
seconds. A server that dies later costs its metrics, never the run: the loss is counted and said
once. A run left by a block that raised is FAILED, by Ctrl-C KILLED, else FINISHED.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepsic.errors import StorageError, UsageError
from pipelines.stage import console

__all__ = [
    "OFF",
    "TrackedRun",
    "check_shared",
    "check_store",
    "chosen_uri",
    "close_stale",
    "tracked",
]

OFF = "none"
REACH_SECONDS = 5.0


def chosen_uri(uri: str | None = None) -> str:
    """The store asked for, else `MLFLOW_TRACKING_URI`, else SQLite in `runs/mlflow.db` here.

    The path of an SQLite file becomes absolute: workers may run in other folders.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///runs/mlflow.db"
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else f"sqlite:///{Path(path).resolve()}"


def check_store(uri: str | None = None) -> str:
    """Reach the store before work starts; return its URI.

    Raises: `StorageError` when a server doesn't answer or a database can't be opened.
    """
    uri = chosen_uri(uri)
    if uri == OFF:
        return uri
    if uri.startswith(("http://", "https://")):
        _check_server(uri)
        # The client's own default is to try for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    elif uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()
        except OSError as error:
            raise StorageError(f"can't write the MLflow store {path}: {error}") from error
    return uri


def _check_server(uri: str) -> None:
    url = uri.rstrip("/") + "/health"
    try:
        with urllib.request.urlopen(url, timeout=REACH_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):  # it answers; access shows with the first call
            return
        reason: object = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
    raise StorageError(
        f"no MLflow server answers at {uri} ({reason}); start it, give another --tracking-uri, "
        "or turn tracking off with --tracking-uri none"
    )


class TrackedRun:
    """One MLflow run, or none (`id` is None); logging never raises, losses are counted."""

    def __init__(
        self,
        client: Any = None,
        run_id: str | None = None,
        uri: str = OFF,
        *,
        logged: Mapping[str, int] | None = None,
    ) -> None:
        self._client, self.id, self.uri = client, run_id, uri
        self.lost = 0
        self._logged = logged or {}
        """Last step of each metric that an earlier process of this run logged: nothing is logged
        twice, though some metrics come oftener than others."""

    def params(self, values: Mapping[str, object]) -> None:
        """Log settings; long values are cut at MLflow's bound of 6,000 characters."""
        for key, value in values.items():
            self._try("log_param", key, str(value)[:6000])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers under one step."""
        if self._client is None:
            return
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(key, float(value), now, step)
            for key, value in values.items()
            if step == 0 or step > self._logged.get(key, -1)
        ]
        if entries:
            self._try("log_batch", metrics=entries)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Log one file, or a folder whole."""
        self._try("log_artifacts" if path.is_dir() else "log_artifact", str(path), folder)

    def dataset(self, name: str, digest: str, about: Mapping[str, Any]) -> None:
        """Log what a model is trained on, as an MLflow dataset.

        Args:
            name: its places.
            digest: hash of what they hold.
            about: sources and counts.
        """
        if self._client is None:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        made = Dataset(
            name=name[:500], digest=digest[:36],
            source_type="s3" if name.startswith("s3://") else "local",
            source=json.dumps({"uri": name}), profile=json.dumps(about, default=str)[:16_000],
        )  # fmt: skip
        used = DatasetInput(made, [InputTag("mlflow.data.context", "training")])
        self._try("log_inputs", datasets=[used])

    def tags(self, values: Mapping[str, str]) -> None:
        """Log tags."""
        for key, value in values.items():
            self._try("set_tag", key, value)

    def child(self, run_name: str, *, params: Mapping[str, object]) -> TrackedRun:
        """A run nested under this one, or the one of that name that an earlier process left.

        Returns: a run that logs nothing, if this one doesn't or the store refuses another.
        """
        if self._client is None or self.id is None:
            return TrackedRun()
        try:
            experiment_id = self._client.get_run(self.id).info.experiment_id
            run = _open_run(self._client, self.uri, experiment_id, run_name, resume=True)
        except Exception as error:  # as in `_try`: it costs the child's numbers, not the work
            self._refused("a nested run", error)
            return TrackedRun()
        run.params(params)
        run.tags({"mlflow.parentRunId": self.id})
        return run

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._try("set_terminated", status)

    def _try(self, method: str, *arguments: Any, **named: Any) -> None:
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self.id, *arguments, **named)
        except Exception as error:  # third-party stores fail in many ways; none may stop the work
            self._refused(method, error)

    def _refused(self, what: str, error: Exception) -> None:
        self.lost += 1
        if self.lost == 1:
            console.say(f"warning: MLflow at {self.uri} refused {what}: {error}; going on")


@contextlib.contextmanager
def tracked(
    experiment: str,
    *,
    run_name: str,
    uri: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    resume: bool = False,
) -> Iterator[TrackedRun]:
    """A run of `experiment` for the length of a block.

    uri: None for `chosen_uri()`, "none" for no tracking.
    resume: go on with the last run of this name, if there is one: one run is one run, however
        often it was interrupted.
    Raises: `StorageError` before the block when the store can't be reached.
    """
    uri = check_store(uri)
    if uri == OFF:
        yield TrackedRun()
        return
    client = _client(uri)
    try:
        experiment_id = _experiment(client, experiment, uri)
        run = _open_run(client, uri, experiment_id, run_name, resume)
    except Exception as error:
        raise StorageError(f"MLflow at {uri} refused a new run: {error}") from error
    run.params(params or {})
    run.tags(tags or {})
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):
        run.end("KILLED")
        raise
    except BaseException:
        run.end("FAILED")
        raise
    run.end("FINISHED")


def check_shared(uri: str, nodes: int) -> None:
    """See that all nodes of a cluster reach the same store.

    Raises: `UsageError` for a file on one node's disk where there are several.
    """
    if nodes > 1 and uri.startswith(("sqlite:", "file:", "/", ".")):
        raise UsageError(
            f"MLflow's store {uri} is a file of one node, and this cluster has {nodes}: start "
            "`mlflow server --host 0.0.0.0` on the head and give --tracking-uri http://HEAD:5000, "
            "or --tracking-uri none"
        )


def _open_run(client: Any, uri: str, experiment_id: str, run_name: str, resume: bool) -> TrackedRun:
    if resume:
        name = run_name.replace("'", "")
        found = client.search_runs(
            [experiment_id], f"attributes.run_name = '{name}'", max_results=1,
            order_by=["attributes.start_time DESC"],
        )  # fmt: skip
        if found:
            run_id = found[0].info.run_id
            client.update_run(run_id, status="RUNNING")
            logged = {
                name: max(metric.step for metric in client.get_metric_history(run_id, name))
                for name in client.get_run(run_id).data.metrics
            }
            return TrackedRun(client, run_id, uri, logged=logged)
    return TrackedRun(client, client.create_run(experiment_id, run_name=run_name).info.run_id, uri)


def close_stale(experiment: str, *, uri: str | None = None, name_prefix: str = "") -> int:
    """End as KILLED the runs of an interrupted job that still say RUNNING; return how many.

    Call it only where no other job writes to the same experiment and `name_prefix`.
    """
    uri = check_store(uri)
    if uri == OFF:
        return 0
    client = _client(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return 0
    runs = client.search_runs([found.experiment_id], "attributes.status = 'RUNNING'")
    stale = [run for run in runs if (run.info.run_name or "").startswith(name_prefix)]
    for run in stale:
        client.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def _client(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("alembic", "mlflow"):  # migrations of a new database are not the user's news
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _experiment(client: Any, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    location = None
    if uri.startswith("sqlite:///"):  # else MLflow scatters ./mlruns wherever a stage is called
        location = (Path(uri.removeprefix("sqlite:///")).parent / "mlflow-artifacts").as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:
        found = client.get_experiment_by_name(name)  # another process was first
        if found is None:
            raise
        return str(found.experiment_id)
