"""What Ray needs, looked at before Ray waits for it: an answer within seconds, in one sentence.

    check_cluster("10.0.0.5:6379")     # does anything answer there?
    check_machine()                    # room for Ray's files, and a place for its token
    check_resources(gpus=0.25)         # can a worker that takes this ever run? Ray runs already

Ray itself waits for minutes where these fail, most of them without a word.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from deepsic.errors import StorageError, UsageError

__all__ = ["check_cluster", "check_machine", "check_resources", "cluster_device"]

ANSWER_SECONDS = 10.0
CLIENT_SCHEME = "ray://"
#: Ray's logs and sockets; less than this is gone before the first task.
MIN_FREE_MB = 200
MB = 1_000_000


def check_cluster(address: str) -> None:
    """See that a Ray cluster answers at `address` ("host:port", "ray://host:port" or "auto").

    Raises: `UsageError` when nothing answers within `ANSWER_SECONDS`.
    """
    advice = "check RAY_ADDRESS, or unset it to run on this machine"
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        found = canonicalize_bootstrap_address(address)
        if found in (None, "auto"):
            raise UsageError(f"no Ray cluster runs on this machine; {advice}")
        address = str(found)
    place = address.removeprefix(CLIENT_SCHEME)
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"RAY_ADDRESS={address!r} is not host:port; {advice}")
    if not _answers(place):
        raise UsageError(
            f"no Ray cluster answers at {address!r} within {ANSWER_SECONDS:g} s; {advice}"
        )


def _answers(place: str) -> bool:
    """Whether a gRPC server says hello at host:port; with TLS, whether the port is open."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0", "false"):
        return _is_open(place)
    import grpc

    # A port that is open is not enough: a stopped head accepts connections and says nothing.
    with grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            return False
    return True


def _is_open(place: str) -> bool:
    import socket

    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def check_machine() -> None:
    """See that a Ray of this machine can write its files: session folder and access token.

    Raises: `StorageError` that names the folder and the variable that moves it.
    """
    folder = _session_folder()
    free = _free_mb(folder, "set RAY_TMPDIR to a folder that can be written")
    if free < MIN_FREE_MB:
        raise StorageError(
            f"{folder} has {free:.0f} MB free and Ray needs {MIN_FREE_MB}; free some space, or set "
            "RAY_TMPDIR to a folder on another disk"
        )
    chosen = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    token = Path.home() / ".ray" / "auth_token"
    if os.environ.get("RAY_AUTH_MODE") != "disabled" and not chosen and not token.exists():
        advice = "Ray keeps its access token there; set HOME to a folder that can be written"
        _free_mb(token.parent, advice)


def _session_folder() -> Path:
    """Where Ray puts its session folder: the rule of its own manual."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def _free_mb(folder: Path, advice: str) -> float:
    """Free space in MB of a folder, made if need be, that really can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}; {advice}") from error
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize / MB


def cluster_device(name: str) -> str:
    """Where workers' networks run, "cpu" or "cuda".

    A GPU that is asked for may be on other machines than this one: `check_resources` looks there.
    """
    from deepsic.models.device import device_named

    return device_named(name).partition(":")[0] if name == "auto" else name


def check_resources(*, cpus: float = 0, gpus: float = 0, workers: int = 1) -> None:
    """See that the cluster has, or may grow to have, what all workers at least take at once.

    Ray runs already. A cluster without any CPU is a head whose workers are yet to come.

    Args:
        cpus, gpus: of one worker.
        workers: that run at the same time.

    Raises: `UsageError` when there are fewer CPUs or GPUs than that.
    """
    import ray

    have = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if max(have.get("GPU", 0), _to_come("GPU")) < gpus * workers:
        raise UsageError(
            f"{_need(gpus, 'GPU', workers)} and {_where()} has {have.get('GPU', 0):g}; give "
            "--device cpu, or run where there are enough"
        )
    if have.get("CPU") and max(have["CPU"], _to_come("CPU")) < cpus * workers:
        raise UsageError(
            f"{_need(cpus, 'CPU', workers)} and {_where()} has {have['CPU']:g}; ask for fewer"
        )


def _need(each: float, name: str, workers: int) -> str:
    if workers > 1:
        return f"{workers} workers take {each * workers:g} {name}s"
    return f"a worker takes {each:g} {name}{'s' * (each > 1)}"


def _where() -> str:
    return "the cluster" if os.environ.get("RAY_ADDRESS") else "this machine"


def _to_come(name: str) -> float:
    """The most of a resource that this head's autoscaler may start; 0 elsewhere."""
    import yaml

    config = Path.home() / "ray_bootstrap_config.yaml"  # where `ray up` leaves it
    if not config.exists():
        return 0
    types = yaml.safe_load(config.read_text("utf-8")).get("available_node_types", {})
    return float(
        sum(
            kind.get("max_workers", 1) * kind.get("resources", {}).get(name, 0)
            for kind in types.values()
        )
    )
