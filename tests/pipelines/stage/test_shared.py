"""What all stages share: console, tracking, runtime options."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer

from deepsic.errors import StorageError, UsageError
from pipelines.stage import console, tracking
from pipelines.stage.runtime import RuntimeOptions, default_store_mb


def test_progress_of_a_log_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "EVERY_SECONDS", 0.02)
    stream = io.StringIO()
    with console.progress("work", 3, stream=stream) as counter:
        counter.advance(2, failed=1, bytes=10)
        counter.advance(1, bytes=5)
        while "\n" not in stream.getvalue():  # it speaks although nothing gets done
            pass
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[0]["eta_s"] == 0
    last = lines[-1]
    assert (last["stage"], last["done"], last["total"]) == ("work", 3, 3)
    assert (last["failed"], last["bytes"], last["finished"]) == (1, 15, True)


def test_progress_ends_with_a_line_when_work_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(OSError, match="gone"), console.progress("work", stream=stream):
        raise OSError("gone")
    assert "finished" not in json.loads(stream.getvalue())


def test_a_table_shows_nothing_for_none(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("numbers", ["name", "value"], [["a", 1.23456], ["b", None]])
    text = capsys.readouterr().out
    assert "1.235" in text
    assert "-" in text


def test_tracking_off_does_nothing() -> None:
    with tracking.tracked("x", run_name="y", uri="none") as run:
        run.metrics({"loss": 1.0})
        run.params({"a": 1})
    assert run.id is None
    assert run.lost == 0


def test_a_dead_server_is_named_before_work_starts() -> None:
    with (
        pytest.raises(StorageError, match=r"no MLflow server answers at http://127\.0\.0\.1:9 "),
        tracking.tracked("x", run_name="y", uri="http://127.0.0.1:9"),
    ):
        pytest.fail("work started")


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't write the MLflow store"):
        tracking.check_store(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_store_in_this_folder_is_the_same_to_workers_in_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking.chosen_uri("sqlite:///here.db") == f"sqlite:///{tmp_path}/here.db"
    assert tracking.chosen_uri() == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert tracking.chosen_uri("http://head:5000") == "http://head:5000"
    assert tracking.chosen_uri("none") == "none"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow and its SQLAlchemy warn of their own code
def test_runs_are_kept_and_end_as_they_should(tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.data import get_source

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "a.txt").write_text("made")
    with tracking.tracked("exp", run_name="good", uri=uri, params={"a": 1}) as good:
        good.metrics({"psnr": 30.0}, step=2)
        good.artifact(tmp_path / "a.txt")
        good.dataset("s3://bucket/prepared/1a2b3c4d", "5f" * 8, {"pictures": 7})
    with (
        pytest.raises(OSError, match="gone"),
        tracking.tracked("exp", run_name="bad", uri=uri) as bad,
    ):
        raise OSError("gone")
    client = MlflowClient(tracking_uri=uri)
    found = client.get_run(good.id)
    (used,) = found.inputs.dataset_inputs
    assert used.dataset.digest == "5f" * 8
    assert get_source(used.dataset).uri == "s3://bucket/prepared/1a2b3c4d"
    assert json.loads(used.dataset.profile) == {"pictures": 7}
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
    assert found.info.status == "FINISHED"
    assert found.data.metrics["psnr"] == 30.0
    assert found.data.params["a"] == "1"
    assert [item.path for item in client.list_artifacts(good.id)] == ["a.txt"]
    assert client.get_run(bad.id).info.status == "FAILED"
    left = client.create_run(found.info.experiment_id, run_name="left")
    assert tracking.close_stale("exp", uri=uri) == 1
    assert client.get_run(left.info.run_id).info.status == "KILLED"


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="num_cpus=0"):
        RuntimeOptions(num_cpus=0)
    assert 100 <= default_store_mb() <= 4000


def test_environment_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.stage.runtime import _local_arguments

    monkeypatch.setenv("DEEPSIC_NUM_CPUS", "many")
    with pytest.raises(UsageError, match="DEEPSIC_NUM_CPUS='many'"):
        _local_arguments(RuntimeOptions())
    monkeypatch.setenv("DEEPSIC_NUM_CPUS", "2")
    assert _local_arguments(RuntimeOptions(object_store_mb=150)) == {
        "num_cpus": 2, "object_store_memory": 150_000_000, "address": "local",
    }  # fmt: skip


def test_what_ray_gives_up_on_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ray.exceptions import WorkerCrashedError

    from pipelines.stage.exits import exit_codes

    @exit_codes
    def command() -> None:
        raise WorkerCrashedError

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 1
    said = capsys.readouterr().err
    assert "WorkerCrashedError" in said
    assert "the same command resumes" in said
    assert "Traceback" not in said
