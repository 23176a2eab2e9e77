"""Ray for the stages: attach to the cluster that `RAY_ADDRESS` names, else start here.

    with ray_runtime(RuntimeOptions(num_cpus=2)) as where:
        console.say(f"running on {where}")
        ...

A local Ray gets sane limits: as many CPUs as this process may use (a container's share, not the
host's), and an object store that is a fifth of the free memory and fits in /dev/shm.
`DEEPSIC_NUM_CPUS` and `DEEPSIC_OBJECT_STORE_MB` override both where no option is at hand, as in
tests. Ray is imported here and nowhere at the top of a stage, so `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepsic.errors import DeepsicError, UsageError
from pipelines.stage.preflight import check_cluster, check_machine

__all__ = ["RuntimeOptions", "cluster_cpus", "ray_runtime", "start_ray", "stop_ray"]

MB = 1_000_000
#: What `import pipelines` needs on the path: a checkout, or the folder inside an installed deepsic.
ROOT = Path(__file__).resolve().parents[2]
MIN_STORE_MB, MAX_STORE_MB = 100, 4_000


def _int_env(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{name}={text!r} must be a positive whole number")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """How to reach or start Ray."""

    address: str | None = None
    """A cluster to attach to; None: `RAY_ADDRESS` if set, else a new local Ray. "local" forces."""
    num_cpus: int | None = None
    """CPUs of a local Ray; None: `DEEPSIC_NUM_CPUS`, else all that this process may use."""
    num_gpus: int | None = None
    """GPUs of a local Ray; None: all that Ray finds."""
    object_store_mb: int | None = None
    """Object store of a local Ray, MB; None: `DEEPSIC_OBJECT_STORE_MB`, else by free memory."""
    worker_env: dict[str, str] = field(default_factory=dict)
    """Environment variables for every worker, on a cluster as well."""
    verbose: bool = False
    """Let Ray's own log lines and those of its workers reach this terminal."""
    data: bool = True
    """Whether the stage uses Ray Data, which takes a second to import."""

    def __post_init__(self) -> None:
        for name in ("num_cpus", "object_store_mb"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} must be positive")


def default_store_mb() -> int:
    """A fifth of the memory that is free, within bounds and within /dev/shm, MB."""
    import psutil

    budget = psutil.virtual_memory().available // 5
    with contextlib.suppress(OSError):
        budget = min(budget, int(shutil.disk_usage("/dev/shm").free * 0.8))
    return int(min(max(budget // MB, MIN_STORE_MB), MAX_STORE_MB))


def local_cpus() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cluster_cpus() -> int:
    """CPUs of the Ray that runs, on all its nodes as they are now; at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _local_arguments(options: RuntimeOptions) -> dict[str, Any]:
    store_mb = options.object_store_mb or _int_env("DEEPSIC_OBJECT_STORE_MB") or default_store_mb()
    arguments: dict[str, Any] = {
        "num_cpus": options.num_cpus or _int_env("DEEPSIC_NUM_CPUS") or local_cpus(),
        "object_store_memory": store_mb * MB,
        "address": "local",
    }
    if options.num_gpus is not None:
        arguments["num_gpus"] = options.num_gpus
    return arguments


def start_ray(options: RuntimeOptions | None = None) -> str:
    """Attach to a cluster or start Ray here, once; say where we are.

    Returns: a line for the user, such as "Ray on this machine (2 CPUs)".
    Raises: `UsageError` when the named cluster doesn't answer; `StorageError` when a Ray of this
        machine has no place for its files.
    """
    options = options or RuntimeOptions()
    # Ray and its telemetry read these when they are imported or start; what the user set stays.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's workers are 15 nicer than their node by default, and starve beside any other load.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # On a loaded machine the node's daemon takes longer than Ray's 30 s.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    import ray

    if not ray.is_initialized():
        _connect(options)
    if options.data:
        _quiet_data(options.verbose)
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    where = (
        "this machine" if _address(options) is None else f"{_address(options)}, {len(alive)} nodes"
    )
    return f"Ray on {where} ({cpus} CPUs" + (f", {gpus} GPUs)" if gpus else ")")


def _address(options: RuntimeOptions) -> str | None:
    address = options.address or os.environ.get("RAY_ADDRESS") or None
    return None if address == "local" else address


def _connect(options: RuntimeOptions) -> None:
    import ray

    address = _address(options)
    if address:
        check_cluster(address)
    else:
        check_machine()
    where: dict[str, Any] = {"address": address} if address else _local_arguments(options)
    # Workers import `pipelines` from where this process has it, after what their node names.
    path = os.pathsep.join(("${PYTHONPATH}", str(ROOT)))
    environment = {"env_vars": {"PYTHONPATH": path, **options.worker_env}}
    try:
        with _own_sigterm():
            ray.init(
                **where,
                runtime_env=environment,
                log_to_driver=options.verbose,
                logging_level=logging.INFO if options.verbose else logging.WARNING,
            )
    except (ConnectionError, TimeoutError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r}: {error}; check RAY_ADDRESS, or unset it to "
            "run on this machine"
        ) from error
    except Exception as error:  # Ray raises bare Exceptions when its own processes don't come up
        raise DeepsicError(
            f"Ray didn't start: {error}; this machine may be too busy or short of memory"
        ) from error


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the handler that the command has: Ray sets its own when it starts."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread() and callable(before):
        signal.signal(signal.SIGTERM, before)


def _quiet_data(verbose: bool) -> None:
    """Ray Data draws its own bars only for a person who asked for them."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = verbose and sys.stderr.isatty()
    context.print_on_execution_start = verbose
    if not verbose:
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it warns that its bars are off


def stop_ray() -> None:
    """Leave the cluster, or stop the local Ray and its processes. Safe to call twice."""
    import ray

    if ray.is_initialized():
        ray.shutdown()


@contextlib.contextmanager
def ray_runtime(options: RuntimeOptions | None = None) -> Iterator[str]:
    """`start_ray` for the length of a block; a Ray that ran before is left running."""
    import ray

    ran_before = ray.is_initialized()
    where = start_ray(options)
    try:
        yield where
    finally:
        if not ran_before:
            stop_ray()
