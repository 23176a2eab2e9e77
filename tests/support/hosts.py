"""Three hosts on one machine: namespaces with an ssh daemon each, on a network of their own.

    with Hosts(Path("/var/tmp/hosts"), venv=Path(".venv")) as hosts:
        hosts.run("w1", "hostname")
        hosts.kill("w1")                   # SIGKILL for every process of it
        hosts.start("w1")                  # it is back with its disk, as after a reset

A host has its own processes, network card, name, /tmp and /dev/shm, and a home folder that lies as
an overlay on this user's. Needs Linux, root, and openssh-server, iproute2, rsync, util-linux.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

__all__ = ["GATEWAY", "HOSTS", "Hosts", "missing"]

ROOT = Path(__file__).parents[2]
NETWORK = "10.77.0"
GATEWAY = f"{NETWORK}.1"
"""This machine, as the hosts see it."""
HOSTS = {"head": f"{NETWORK}.11", "w1": f"{NETWORK}.12", "w2": f"{NETWORK}.13"}
BRIDGE = "deepsicbr0"
#: Control group of the hosts, which counts their processor time: the first version, or the second.
GROUP = next(
    (path / "deepsic" for path in [Path("/sys/fs/cgroup/cpuacct")] if path.is_dir()),
    Path("/sys/fs/cgroup/deepsic"),
)
TOOLS = ("/usr/sbin/sshd", "ip", "ssh", "ssh-keygen", "rsync", "unshare")


def missing() -> str | None:
    """Why there can be no hosts here; None when there can."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"needs {', '.join(absent)}" if absent else None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Hosts:
    """The hosts `head`, `w1` and `w2`.

    Args:
        folder: their disks, keys and logs; not on an overlay itself.
        venv: a virtual environment with everything; the hosts use it instead of installing.
    """

    def __init__(self, folder: Path, *, venv: Path) -> None:
        self.folder, self.venv = folder.resolve(), venv.absolute()
        self.key = self.folder / "key"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Hosts:
        self.folder.mkdir(parents=True, exist_ok=True)
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and init scripts make it
        for name in ("key", "hostkey"):
            (self.folder / name).unlink(missing_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
            subprocess.run([*command, self.folder / name], check=True)
        GROUP.mkdir(exist_ok=True)
        self._remove_network()
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for name in HOSTS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._processes):
            self.kill(name)
        self._remove_network()
        with contextlib.suppress(OSError):  # its last processes are on their way out
            GROUP.rmdir()

    @property
    def alive(self) -> set[str]:
        """Names of hosts that run."""
        return set(self._processes)

    def start(self, name: str) -> None:
        """Start a host; one that was killed has its disk still, but not /tmp."""
        place = self.folder / name
        shutil.rmtree(place / "tmp", ignore_errors=True)
        for part in ("tmp", "upper", "work"):
            (place / part).mkdir(parents=True, exist_ok=True)
        self._make_venv(place / "upper" / "deepsic" / ".venv")
        self._connect(name)
        (place / "sshd_config").write_text(self._sshd(name), "utf-8")
        (place / "init.sh").write_text(self._init(name), "utf-8")
        inside = ["unshare", "--pid", "--fork", "--mount-proc", "--mount", "--uts", "--ipc",
                  "--kill-child=KILL", "bash", str(place / "init.sh")]  # fmt: skip
        with (place / "log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", f"deepsic-{name}", *inside],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=self._join_group,
            )  # fmt: skip
        for _ in range(100):
            if self.run(name, "true").returncode == 0:
                return
            time.sleep(0.2)
        raise RuntimeError(f"{name} doesn't answer: {(place / 'log').read_text('utf-8')}")

    def kill(self, name: str) -> None:
        """End all processes of a host at once, and pull its cable."""
        process = self._processes.pop(name)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", f"ds-{name}")
        process.kill()  # `ip` has become `unshare`, whose child is the namespace's first process
        process.wait()

    def run(
        self, name: str, command: str, *, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host, over ssh."""
        choices = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
                   "ConnectTimeout=5")  # fmt: skip
        options = ["-i", str(self.key), *(part for c in choices for part in ("-o", c))]
        line = ["ssh", *options, f"root@{HOSTS[name]}", "bash", "-c", shlex.quote(command)]
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False)

    def cpu_seconds(self) -> float:
        """Processor time of all processes of all hosts since the block began."""
        if (GROUP / "cpuacct.usage").exists():
            return int((GROUP / "cpuacct.usage").read_text("ascii")) / 1e9
        return int((GROUP / "cpu.stat").read_text("ascii").split()[1]) / 1e6

    def _join_group(self) -> None:
        (GROUP / "cgroup.procs").write_text("0", "ascii")

    def _connect(self, name: str) -> None:
        space, cable = f"deepsic-{name}", f"ds-{name}"
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "add", space)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", cable, "master", BRIDGE, "up")
        _ip("-n", space, "addr", "add", f"{HOSTS[name]}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", space, "link", "set", device, "up")
        _ip("-n", space, "route", "add", "default", "via", GATEWAY)

    def _make_venv(self, target: Path) -> None:
        """A venv that is the ready one, stamped so that cluster/setup.sh has nothing to do."""
        if target.exists():
            return
        target.mkdir(parents=True)
        for name in ("bin", "lib", "include", "lib64", "share", "etc"):
            if (self.venv / name).exists():
                (target / name).symlink_to((self.venv / name).resolve())
        shutil.copy(self.venv / "pyvenv.cfg", target / "pyvenv.cfg")
        lock = (ROOT / "cluster" / "requirements.lock").read_bytes()
        (target / "locked").write_text(hashlib.sha256(lock).hexdigest() + "\n", "ascii")

    def _sshd(self, name: str) -> str:
        return f"""
            ListenAddress {HOSTS[name]}
            HostKey {self.folder}/hostkey
            AuthorizedKeysFile {self.folder}/key.pub
            PermitRootLogin prohibit-password
            StrictModes no
            UsePAM no
            PidFile none
            SetEnv HOME={Path.home()}
            """

    def _init(self, name: str) -> str:
        place, home = self.folder / name, Path.home()
        layers = f"lowerdir={home},upperdir={place}/upper,workdir={place}/work"
        return f"""
            set -e
            mount --make-rprivate /
            mount -t tmpfs tmpfs /dev/shm -o size=2g
            mount -t overlay overlay -o {layers} {home}
            mount --bind {place}/tmp /tmp
            hostname {name}
            exec /usr/sbin/sshd -D -e -f {place}/sshd_config
            """

    def _remove_network(self) -> None:
        for arguments in (
            *(("netns", "del", f"deepsic-{name}") for name in HOSTS),
            *(("link", "del", f"ds-{name}") for name in HOSTS),
            ("link", "del", BRIDGE),
        ):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(*arguments)
