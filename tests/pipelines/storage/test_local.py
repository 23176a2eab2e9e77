"""A folder as a storage."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from deepsic.errors import UsageError, VerificationError
from pipelines.storage import (
    AccessError,
    Fetched,
    LocalStorage,
    MissingBucketError,
    NewObject,
    ObjectAbout,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    open_storage,
    put_all_verified,
    put_verified,
)
from pipelines.storage import drafts as drafts_module
from pipelines.storage import listing as listing_module
from pipelines.storage import local as local_module
from pipelines.storage.arrow import ObjectFile


@pytest.fixture(params=["without a name", "temporary names"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalStorage:
    """A folder whose file system has files without a name, or hasn't."""
    if request.param == "temporary names":
        monkeypatch.setattr(drafts_module, "_unnamed", lambda *_: None)
    return LocalStorage(str(tmp_path))


def keys(storage: LocalStorage, prefix: str = "") -> list[str]:
    return [info.key for info in storage.list(prefix)]


def test_put_get_list_delete(storage: LocalStorage) -> None:
    storage.put("a/b.bin", b"one")
    assert storage.get("a/b.bin").data == b"one"
    storage.put("a/b.bin", b"two!")
    (info,) = storage.list()
    assert (info.key, info.size, info.etag) == ("a/b.bin", 4, storage.get("a/b.bin").etag)
    assert storage.exists("a/b.bin")
    storage.delete("a/b.bin")
    storage.delete("a/b.bin")
    assert keys(storage) == []
    with pytest.raises(ObjectMissingError):
        storage.get("a/b.bin")


def test_exclusive_never_replaces(storage: LocalStorage) -> None:
    storage.put("a", b"one", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"two", exclusive=True)
    assert storage.get("a").data == b"one"


def test_exclusive_without_hard_links(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **named: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    storage.put("a", b"one", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"two", exclusive=True)
    assert keys(storage) == ["a"]


def test_put_verified_adopts_equal_and_replaces_other_bytes(storage: LocalStorage) -> None:
    put_verified(storage, "a", b"one")
    before = (Path(storage.url) / "a").stat().st_mtime_ns
    put_verified(storage, "a", b"one")
    assert (Path(storage.url) / "a").stat().st_mtime_ns == before
    put_verified(storage, "a", b"two")
    assert storage.get("a").data == b"two"


def test_several_are_put_at_once_and_each_has_its_own_error(storage: LocalStorage) -> None:
    storage.put("theirs", b"one")
    storage.put("ours", b"one")
    contents = {"new/a": b"1", "theirs": b"2", "../out": b"3", "ours": b"one", "new/b": b"4"}
    objects = [NewObject(key, data) for key, data in contents.items()]
    errors = put_all_verified(storage, objects, [()] * len(objects))
    assert [type(error) for error in errors] == [
        type(None), ObjectExistsError, UsageError, type(None), type(None),
    ]  # fmt: skip
    assert {key: storage.get(key).data for key in keys(storage)} == {
        "new/a": b"1", "new/b": b"4", "ours": b"one", "theirs": b"one",
    }  # fmt: skip


MANY = [NewObject(f"f{n % 3}/{n:02d}", bytes([n]) * 5_000) for n in range(20)]


def killed_at(call: str, number: int, folder: str, unnamed: bool) -> None:
    """Put `MANY`, and die at the `number`th call of a function of `os`."""
    function, calls = getattr(os, call), iter(range(number))

    def counted(*arguments: object, **named: object) -> object:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    if not unnamed:
        drafts_module._unnamed = lambda _: None
    setattr(os, call, counted)
    LocalStorage(folder).put_new(MANY)


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize(("call", "number"), [("fsync", 0), ("fsync", 7), ("link", 0), ("link", 7)])
def test_a_kill_among_several_leaves_whole_files_or_none(
    call: str, number: int, unnamed: bool, tmp_path: Path
) -> None:
    worker = multiprocessing.get_context("spawn").Process(
        target=killed_at, args=(call, number, str(tmp_path), unnamed)
    )
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    storage = LocalStorage(str(tmp_path))
    whole = {one.key: one.data for one in MANY}
    assert len(keys(storage)) == (number if call == "link" else 0)
    assert all(storage.get(key).data == whole[key] for key in keys(storage))
    assert put_all_verified(storage, MANY, [()] * len(MANY)) == [None] * len(MANY)
    assert {key: storage.get(key).data for key in keys(storage)} == whole


def test_put_verified_sees_a_store_that_lies(tmp_path: Path) -> None:
    class Lies(LocalStorage):
        def get(self, key: str) -> Fetched:
            return Fetched(b"something else", "")

    with pytest.raises(VerificationError, match="read back other bytes"):
        put_verified(Lies(str(tmp_path)), "a", b"one")


def test_keys_outside_the_folder_are_refused(storage: LocalStorage) -> None:
    for key in ("../a", "/etc/passwd", "a/../../b", "", "a//b", "a\0b"):
        with pytest.raises(UsageError):
            storage.get(key)


def test_listing_is_in_the_order_of_s3(storage: LocalStorage) -> None:
    names = ["a/b", "a.b", "a-b/c", "a0", "A", "é", "ab", "a/b.c/d", "😀"]
    for name in names:
        storage.put(name + "_", b"")
    assert keys(storage) == sorted(name + "_" for name in names)
    assert keys(storage, "a/") == ["a/b.c/d_", "a/b_"]


def test_a_large_folder_is_sorted_by_way_of_files(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "RUN_NAMES", 7)
    names = sorted(f"{(n * 37) % 101:03d}\n{n}" for n in range(101))
    for name in names:
        (Path(storage.url) / name).touch()
    assert keys(storage) == names


def test_names_that_are_not_utf8_are_listed_with_a_problem(tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", os.O_CREAT))
    (info,) = LocalStorage(str(tmp_path)).list()
    assert "UTF-8" in info.problem
    info.key.encode()


def test_deep_trees_and_folder_links(storage: LocalStorage) -> None:
    deep = "/".join("abcdefgh" * 60)
    storage.put(deep, b"")
    os.symlink(storage.url, Path(storage.url) / "again")
    found = list(storage.list())
    assert [info.key for info in found] == [deep, "again"]
    assert "link to a folder" in found[1].problem


def test_a_missing_folder_has_a_name(tmp_path: Path) -> None:
    gone = LocalStorage(str(tmp_path / "gone"))
    with pytest.raises(MissingBucketError):
        gone.check()
    with pytest.raises(MissingBucketError):
        list(gone.list())
    with pytest.raises(UsageError, match="is a file"):
        LocalStorage(__file__).check()


def test_a_folder_that_cannot_be_made_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(AccessError, match=r"can't be made .*choose another folder"):
            LocalStorage(str(tmp_path / place)).create()


def test_a_full_disk_has_a_name_and_leaves_nothing(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for exclusive in (True, False):
        with pytest.raises(StorageFullError, match="run the same command again"):
            storage.put("a", b"one", exclusive=exclusive)
    assert [path for path in Path(storage.url).rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_file_is_what_its_options_say(storage: LocalStorage, exclusive: bool) -> None:
    about = ObjectAbout(modified=1_000_000_000.5)
    storage.put("deep/er/a", b"one", exclusive=exclusive, about=about)
    status = (Path(storage.url) / "deep/er/a").stat()
    mask = os.umask(0)
    os.umask(mask)
    assert (status.st_mtime, status.st_mode & 0o777) == (1_000_000_000.5, 0o666 & ~mask)
    assert status.st_nlink == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_missing_rights_have_a_name(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(AccessError):
        LocalStorage(str(tmp_path)).put("a", b"")


def test_only_old_temporary_files_are_cleared(storage: LocalStorage) -> None:
    folder = Path(storage.url) / local_module.TEMPORARY
    folder.mkdir(parents=True)
    (folder / "old.part").touch()
    os.utime(folder / "old.part", (0, 0))
    (folder / "new.part").touch()
    assert storage.clear_temporary() == 1
    assert [path.name for path in folder.iterdir()] == ["new.part"]
    assert keys(storage) == []
    (folder / "new.part").unlink()
    assert storage.clear_temporary() == 0
    assert list(Path(storage.url).iterdir()) == []


def test_addresses() -> None:
    assert open_storage("s3://b/p/").url == "s3://b/p"
    for wrong in ("s3://", "s3:///x", "gs://b/p", "http://x"):
        with pytest.raises(UsageError):
            open_storage(wrong)


def test_stretches_of_a_file_are_asked_for_at_once_and_read_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(str(tmp_path))
    data = bytes(range(256)) * 1000
    storage.put("x", data)
    asked: list[tuple[int, int]] = []
    together = threading.Barrier(2, timeout=30)
    whole = LocalStorage.get_range

    def get_range(self: LocalStorage, key: str, start: int, length: int) -> bytes:
        asked.append((start, length))
        if len(asked) <= 2:
            together.wait()
        return whole(self, key, start, length)

    monkeypatch.setattr(LocalStorage, "get_range", get_range)
    file = ObjectFile(storage, "x", len(data))
    file.fetch([(200_000, 50), (10, 100), (500, 100)])
    assert sorted(asked) == [(10, 590), (200_000, 50)]
    for at, length in ((10, 100), (550, 50), (200_010, 40), (599, 1)):
        file.seek(at)
        assert file.read(length) == data[at : at + length]
    assert len(asked) == 2
    file.seek(599)
    assert file.read(2) == data[599:601]
    assert asked[2:] == [(599, 2)]
