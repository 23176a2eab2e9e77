"""An S3 bucket as a storage, against moto's server, with and without faults between."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from pipelines.storage import (
    AccessError,
    MissingBucketError,
    ObjectExistsError,
    ObjectMissingError,
    StorageUnavailableError,
    open_storage,
    put_verified,
)
from pipelines.storage import client as client_module
from pipelines.storage import s3 as s3_module
from tests.support.fault_proxy import FaultProxy


@pytest.fixture
def fresh_client() -> Iterator[None]:
    """Clients are kept for the process: forget them where a test changes the environment."""
    client_module._client_of.cache_clear()
    yield
    client_module._client_of.cache_clear()


def proxied(monkeypatch: pytest.MonkeyPatch, endpoint: str, **rates: float) -> FaultProxy:
    proxy = FaultProxy(endpoint, rates)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    client_module._client_of.cache_clear()
    return proxy


def test_put_get_list_delete(bucket: str) -> None:
    storage = open_storage(f"{bucket}/some/prefix/")
    storage.check()
    for key in ("b", "a/1", "ü 😀+&?", "a.b"):
        put_verified(storage, key, key.encode() * 100)
    found = list(storage.list())
    assert [info.key for info in found] == sorted(["b", "a/1", "ü 😀+&?", "a.b"])
    assert [info.key for info in storage.list("a/")] == ["a/1"]
    fetched = storage.get("b")
    assert (fetched.data, fetched.etag) == (b"b" * 100, found[2].etag)
    assert storage.exists("b")
    storage.delete("b")
    assert not storage.exists("b")
    with pytest.raises(ObjectMissingError):
        storage.get("b")


def test_more_keys_than_one_page(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "PAGE_KEYS", 4)
    storage = open_storage(f"{bucket}/p")
    for number in range(10):
        storage.put(f"{number:04d}", b"")
    assert [info.key for info in storage.list()] == [f"{number:04d}" for number in range(10)]


def test_exclusive_never_replaces(bucket: str) -> None:
    storage = open_storage(bucket)
    storage.put("a", b"one", exclusive=True)
    with pytest.raises(ObjectExistsError):
        storage.put("a", b"two", exclusive=True)
    put_verified(storage, "a", b"two")
    assert storage.get("a").data == b"two"


def test_arrow_sees_the_same(bucket: str) -> None:
    storage = open_storage(f"{bucket}/p")
    storage.put("x/y", b"hello")
    filesystem, root = storage.arrow()
    with filesystem.open_input_file(f"{root}/x/y") as file:
        assert file.read() == b"hello"


def test_storage_travels_to_other_processes(bucket: str) -> None:
    storage = open_storage(bucket)
    storage.put("a", b"one")
    assert pickle.loads(pickle.dumps(storage)).get("a").data == b"one"


def test_a_missing_bucket_has_a_name(s3_environment: dict[str, str]) -> None:
    storage = open_storage("s3://there-is-no-such-bucket/x")
    for action in (storage.check, lambda: list(storage.list()), lambda: storage.put("a", b"")):
        with pytest.raises(MissingBucketError, match="make it, or correct the address"):
            action()


@pytest.mark.parametrize(
    "fault", ["slow_down", "internal_error", "late_error", "truncated", "dropped", "late_drop"]
)
def test_faults_are_ridden_out(
    fault: str,
    bucket: str,
    s3_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    fresh_client: None,
) -> None:
    with proxied(monkeypatch, s3_endpoint, **{fault: 0.25}) as proxy:
        storage = open_storage(bucket)
        for number in range(12):
            put_verified(storage, f"k{number}", bytes([number]) * 5000)
        assert [len(storage.get(f"k{number}").data) for number in range(12)] == [5000] * 12
        assert len(list(storage.list())) == 12
        assert proxy.counts[fault] > 0


def test_a_store_that_stays_silent_has_a_name(
    bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, fresh_client: None
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with proxied(monkeypatch, s3_endpoint, dropped=1.0), pytest.raises(StorageUnavailableError):
        open_storage(bucket).check()


def test_missing_credentials_have_a_name(
    bucket: str, monkeypatch: pytest.MonkeyPatch, fresh_client: None
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessError, match="AWS_PROFILE"):
        open_storage(bucket).check()
