"""S3 servers on this machine: moto, and Ceph's object gateway for load.

Ceph is one monitor, one store in memory and one gateway, from Debian's packages ceph-mon, ceph-osd
and radosgw. Both know the credentials of `CREDENTIALS`, and end with the block.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.support.ports import LOOPBACK, free_port

__all__ = ["CREDENTIALS", "ceph_gateway", "missing_ceph", "moto_server"]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "testtest",
    "AWS_DEFAULT_REGION": "us-east-1",
}
CEPH_COMMANDS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
STORE_BYTES = 4 * 2**30
START_SECONDS = 120.0
SETTINGS = """\
[global]
fsid = {fsid}
mon host = [v1:{host}:{port}]
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = {bytes}
osd memory target = 939524096
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
public network = 127.0.0.0/8
ms bind msgr2 = false
[client.rgw]
rgw frontends = beast endpoint={host}:{gateway} tcp_nodelay=1
"""


@contextlib.contextmanager
def moto_server(host: str = LOOPBACK) -> Iterator[str]:
    """A moto server; its address."""
    port = free_port(host)
    with _running([sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]) as server:
        _wait(server, host, port)
        yield f"http://{host}:{port}"


def missing_ceph() -> list[str]:
    """Ceph's commands that this machine hasn't got."""
    return [name for name in CEPH_COMMANDS if shutil.which(name) is None]


@contextlib.contextmanager
def ceph_gateway() -> Iterator[str]:
    """Ceph with S3 in front; its address. Takes about ten seconds to start."""
    with tempfile.TemporaryDirectory(prefix="ceph-") as name, contextlib.ExitStack() as stack:
        folder, monitor, gateway = Path(name), free_port(), free_port()
        for part in ("mon", "osd", "rgw"):
            (folder / part).mkdir()
        settings, fsid = folder / "ceph.conf", str(uuid.uuid4())
        settings.write_text(
            SETTINGS.format(
                fsid=fsid, host=LOOPBACK, port=monitor, gateway=gateway, folder=folder,
                bytes=STORE_BYTES,
            )
        )  # fmt: skip
        conf, osd = ("-c", str(settings)), str(uuid.uuid4())
        known, address = str(folder / "monmap"), f"[v1:{LOOPBACK}:{monitor}]"
        _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, known)
        _run("ceph-mon", *conf, "--mkfs", "-i", "a", "--monmap", known)
        mon = stack.enter_context(_running(["ceph-mon", *conf, "-f", "-i", "a"]))
        _wait(mon, LOOPBACK, monitor)
        _run("ceph", *conf, "osd", "crush", "rule", "ls")  # answers once there are maps
        _run("ceph", *conf, "osd", "new", osd)
        (folder / "osd" / "fsid").write_text(osd + "\n")
        _run("ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        stack.enter_context(_running(["ceph-osd", *conf, "-f", "-i", "0", "--no-mon-config"]))
        server = stack.enter_context(_running(["radosgw", *conf, "-f", "-n", "client.rgw"]))
        _wait(server, LOOPBACK, gateway)
        keys = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
        user = ("--uid=test", "--display-name=test")
        access = (f"--access-key={keys[0]}", f"--secret-key={keys[1]}")
        _run("radosgw-admin", *conf, "user", "create", *user, *access)
        yield f"http://{LOOPBACK}:{gateway}"


@retry(
    retry=retry_if_exception_type(RuntimeError),
    stop=stop_after_delay(START_SECONDS),
    wait=wait_fixed(0.5),
    reraise=True,
)
def _run(*command: str) -> None:
    # A monitor that has just started refuses for a moment what it will allow; one that isn't there
    # lets the command hang.
    done = subprocess.run(
        command, check=False, timeout=START_SECONDS, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended by its own id."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} doesn't listen on port {port}")
