"""Whole files: kills, full disks, links, long names, devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deepsic import atomic
from deepsic.errors import StorageError


def test_missing_folders_are_made(tmp_path: Path) -> None:
    atomic.write(tmp_path / "a" / "b.bin", b"new")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"new"


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic.writing(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"old"


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = (
        "import sys, time; from deepsic import atomic\n"
        "with atomic.writing(sys.argv[1]) as file:\n"
        "    file.write(bytes(9)); file.flush(); print('in', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"old"


def test_names_may_be_as_long_as_the_system_lets_them(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".sic")
    atomic.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    link, target = tmp_path / "link", tmp_path / "away" / "file"
    link.symlink_to(target)
    atomic.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_the_mode_of_what_is_replaced_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    atomic.write(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=atomic.write, args=(path, b"new"))
    writer.start()
    assert path.read_bytes() == b"new"
    writer.join()
    assert path.is_fifo()


def test_a_full_device_is_a_named_error() -> None:
    with pytest.raises(StorageError, match=r"/dev/full: .*free some space"):
        atomic.write("/dev/full", b"new")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="directory"):
        atomic.write(tmp_path, b"new")
    assert not list(tmp_path.iterdir())
