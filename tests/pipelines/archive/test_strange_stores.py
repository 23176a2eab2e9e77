"""Whole archives from and to stores with the habits that stores in the field have."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepsic.errors import StorageError, UsageError
from pipelines.archive.cluster import Resources
from pipelines.archive.commands.find import find
from pipelines.archive.commands.report import report_archive
from pipelines.archive.commands.restore import restore_archive
from pipelines.archive.commands.verify import verify_archive
from pipelines.archive.job import RunOptions, run_job
from pipelines.archive.ledger import FAILED, OK, Ledger
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.storage import AccessError, open_storage
from pipelines.storage import client as client_module
from tests.support.strange_store import StrangeStore, private_certificate

from .conftest import save_image
from .fakes import IDENTITY, WebpSource

MakeJob = Callable[..., ArchiveJob]


@pytest.fixture
def store(s3_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrangeStore]:
    """A store between us and the server, by AWS_ENDPOINT_URL."""
    with StrangeStore(s3_endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        client_module._client_of.cache_clear()
        yield proxy
    client_module._client_of.cache_clear()


def rows_of(job: ArchiveJob) -> dict[str, dict[str, object]]:
    tables = Ledger(job.destination).tables(("reason", "output_key"))
    return {row["source_key"]: row for table in tables for row in table.to_pylist()}


def everything_works(job: ArchiveJob, here: Resources, out: Path, count: int) -> None:
    """The first run, and all that reads what it wrote."""
    assert run_job(job, here).done.ok == count
    again = run_job(job, here)
    assert (again.done.objects, again.already.ok) == (0, count)
    ledger = Ledger(job.destination)
    assert report_archive(ledger).status == {OK: count}
    assert find(ledger, "physical entity").total == count
    found = verify_archive(ledger, here)
    assert (found.checked, found.damaged, found.extra) == (count, 0, 0)
    restored = restore_archive(ledger, open_storage(str(out)), WebpSource(), IDENTITY.hex(), here)
    assert (restored.written, restored.failed) == (count, 0)


def test_a_private_authority(
    photos: Path, tmp_path: Path, bucket: str, s3_endpoint: str, make_job: MakeJob, here: Resources,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    context, authority = private_certificate(tmp_path)
    store = StrangeStore(s3_endpoint)
    store.secure(context)
    with store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
        client_module._client_of.cache_clear()
        everything_works(make_job(photos, f"{bucket}/a"), here, tmp_path / "out", 12)
    client_module._client_of.cache_clear()


def test_only_a_proxy_reaches_the_store(
    photos: Path, tmp_path: Path, bucket: str, make_job: MakeJob, here: Resources,
    store: StrangeStore, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9")
    monkeypatch.setenv("HTTP_PROXY", store.url)
    monkeypatch.setenv("NO_PROXY", "")
    client_module._client_of.cache_clear()
    everything_works(make_job(photos, f"{bucket}/a"), here, tmp_path / "out", 12)


def test_a_bucket_of_another_region(
    photos: Path, tmp_path: Path, bucket: str, make_job: MakeJob, here: Resources,
    store: StrangeStore,
) -> None:  # fmt: skip
    store.region = "eu-central-1"
    everything_works(make_job(photos, f"{bucket}/a"), here, tmp_path / "out", 12)


def test_a_role_to_assume_and_two_endpoints(
    photos: Path, tmp_path: Path, bucket: str, s3_endpoint: str, make_job: MakeJob, here: Resources,
    store: StrangeStore, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The source by a role and its own endpoint, the destination by the environment's keys."""
    settings = tmp_path / "config"
    settings.write_text(
        "[profile base]\naws_access_key_id = test\naws_secret_access_key = testtest\n"
        "[profile partner]\nrole_arn = arn:aws:iam::123456789012:role/reader\n"
        "source_profile = base\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    source = open_storage(f"{bucket}/in?profile=partner&endpoint-url={store.url}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    if "moto" not in s3_endpoint and not _has_roles(s3_endpoint):
        pytest.skip("this server has no roles")
    for path in photos.rglob("*.png"):
        source.put(str(path.relative_to(photos)), path.read_bytes())
    job = make_job(f"{bucket}/in?profile=partner&endpoint-url={store.url}", f"{bucket}/a")
    everything_works(job, here, tmp_path / "out", 12)
    signed = [headers for _, path, headers in store.asked if "/in" in path]
    assert signed
    assert all("x-amz-security-token" in headers for headers in signed)
    assert not any("/a/" in path for _, path, _ in store.asked)


def _has_roles(endpoint: str) -> bool:
    import boto3
    from botocore.exceptions import ClientError

    try:
        boto3.client("sts", endpoint_url=endpoint).get_caller_identity()
    except ClientError:
        return False
    return True


@pytest.mark.parametrize("habit", ["folds_unicode", "folds_case"])
def test_two_sources_never_share_an_object(
    habit: str, tmp_path: Path, bucket: str, make_job: MakeJob, here: Resources,
    store: StrangeStore,
) -> None:  # fmt: skip
    composed = unicodedata.normalize("NFC", "é.png")
    names = (composed, unicodedata.normalize("NFD", "é.png"), "A.png", "a.png")
    for number, name in enumerate(names):
        save_image(tmp_path / "in" / name, number)
    setattr(store, habit, True)
    job = make_job(tmp_path / "in", f"{bucket}/a")
    summary = run_job(job, here)
    assert (summary.done.ok, summary.done.failed) == (3, 1)
    rows = rows_of(job)
    (lost,) = [row for row in rows.values() if row["status"] == FAILED]
    assert lost["kind"] == "conflict"
    assert "holds the output of another source" in str(lost["reason"])
    found = verify_archive(Ledger(job.destination), here)
    assert (found.checked, found.damaged, found.extra, found.shared) == (3, 0, 0, 0)
    out = tmp_path / "out"
    restored = restore_archive(
        Ledger(job.destination), open_storage(str(out)), WebpSource(), IDENTITY.hex(), here
    )
    assert restored.written == 3


def test_cold_objects_say_how_to_warm_them_and_wait_for_that(
    photos: Path, bucket: str, make_job: MakeJob, here: Resources, store: StrangeStore
) -> None:
    source = open_storage(f"{bucket}/in")
    for path in photos.rglob("*.png"):
        source.put(str(path.relative_to(photos)), path.read_bytes())
    store.cold = ("p03.png",)
    job = make_job(f"{bucket}/in", f"{bucket}/a")
    assert run_job(job, here).done.failed == 1
    row = rows_of(job)["f0/p03.png"]
    assert row["kind"] == "archived"
    assert "restore-object" in str(row["reason"])
    assert "retries" not in str(row["reason"])
    asked = len(store.asked)
    assert run_job(job, here).done.objects == 0
    assert not any(path.endswith("p03.png") for _, path, _ in store.asked[asked:])
    store.cold = ()
    assert run_job(job, here, RunOptions(retry_failed=True)).done.ok == 1


def test_rights_that_end_in_the_middle_lose_nothing(
    photos: Path, tmp_path: Path, bucket: str, make_job: MakeJob, here: Resources,
    store: StrangeStore,
) -> None:  # fmt: skip
    store.denied_after = 12
    job = make_job(photos, f"{bucket}/a")
    with pytest.raises(AccessError):
        run_job(job, here)
    store.denied_after = None
    everything_works(job, here, tmp_path / "out", 12)


def test_a_slow_listing_keeps_no_worker_waiting(
    photos: Path, bucket: str, make_job: MakeJob, here: Resources, store: StrangeStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The first objects are done before the listing has ended."""
    from pipelines.archive.listing import pending
    from pipelines.archive.listing.spool import Spool
    from pipelines.storage import s3

    source = open_storage(f"{bucket}/in")
    for number, path in enumerate(sorted(photos.rglob("*.png"))):
        source.put(f"{number:02d}.png", path.read_bytes())
    monkeypatch.setattr(s3, "PAGE_KEYS", 1)
    monkeypatch.setattr(pending, "BATCH", 1)
    monkeypatch.setattr("pipelines.archive.listing.chunks.FIRST_ITEMS", 1)
    monkeypatch.setattr("pipelines.archive.listing.selection.LANES", 1)
    store.listing_seconds = 0.1
    complete = []
    take = Spool.take

    def watched(spool: Spool, *, wait: bool) -> object:
        complete.append(spool.complete)
        return take(spool, wait=wait)

    monkeypatch.setattr(Spool, "take", watched)
    assert run_job(make_job(f"{bucket}/in", f"{bucket}/a"), here).done.ok == 12
    assert complete.count(False) > 3


def test_an_object_of_somebody_else_is_never_replaced(
    photos: Path, bucket: str, make_job: MakeJob, here: Resources
) -> None:
    job = make_job(photos, f"{bucket}/a")
    job.destination.put("f0/p00.png.sic", b"mine")
    summary = run_job(job, here)
    assert (summary.done.ok, summary.done.failed) == (11, 1)
    assert job.destination.get("f0/p00.png.sic").data == b"mine"
    assert "--force" in str(rows_of(job)["f0/p00.png"]["reason"])
    job = make_job(photos, f"{bucket}/a", overwrite=True)
    assert run_job(job, here, RunOptions(retry_failed=True)).done.ok == 1
    assert job.destination.get("f0/p00.png.sic").data != b"mine"


def test_a_killed_run_and_a_source_that_changed_meanwhile(
    photos: Path, bucket: str, make_job: MakeJob, here: Resources
) -> None:
    """What is there is this job's, of this source: it gives way."""
    job = make_job(photos, f"{bucket}/a")
    run_job(job, here)
    for info in list(job.destination.list(".deepsic/ledger/")):
        job.destination.delete(info.key)
    save_image(photos / "f0/p00.png", 99)
    assert run_job(job, here).done.ok == 12


def test_what_is_stored_beside_an_object(
    photos: Path, bucket: str, make_job: MakeJob, here: Resources, store: StrangeStore
) -> None:
    from pipelines.archive.work.beside import Beside

    beside = Beside(preserve=True, label_metadata=True, label_tags=True)
    run_job(make_job(photos, f"{bucket}/a", beside=beside), here)
    client = client_module.s3_client(open_storage(bucket).options)  # type: ignore[attr-defined]
    name = bucket.removeprefix("s3://")
    head = client.head_object(Bucket=name, Key="a/f0/p00.png.sic")
    assert head["ContentType"] == "image/x-sic"
    assert float(head["Metadata"]["mtime"]) == pytest.approx(
        (photos / "f0/p00.png").stat().st_mtime, abs=1e-3
    )
    assert head["Metadata"]["label-1"].startswith("0.75 ")
    tags = client.get_object_tagging(Bucket=name, Key="a/f0/p00.png.sic")["TagSet"]
    assert tags[0]["Key"].startswith("n0")
    assert tags[0]["Value"].startswith("0.75 ")


def test_unsigned_and_paid_requests(bucket: str, store: StrangeStore) -> None:
    client = client_module.s3_client(open_storage(bucket).options)  # type: ignore[attr-defined]
    client.put_bucket_acl(Bucket=bucket.removeprefix("s3://"), ACL="public-read")
    list(open_storage(f"{bucket}/p?no-sign-request").list())
    assert "authorization" not in store.asked[-1][2]
    list(open_storage(f"{bucket}/p?request-payer").list())
    assert store.asked[-1][2]["x-amz-request-payer"] == "requester"
    storage = open_storage(f"{bucket}/p?storage-class=STANDARD_IA&sse-kms-key-id=alias/photos")
    with contextlib.suppress(StorageError):  # a server without keys or classes refuses
        storage.put("a", b"one")
    assert store.asked[-1][2]["x-amz-storage-class"] == "STANDARD_IA"
    assert store.asked[-1][2]["x-amz-server-side-encryption"] == "aws:kms"
    assert store.asked[-1][2]["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/photos"


def test_an_option_that_the_store_refuses_is_named(bucket: str) -> None:
    storage = open_storage(f"{bucket}/p?storage-class=NO_SUCH_CLASS")
    with pytest.raises(
        StorageError, match=r"refuses the request \(Invalid.*options of the address"
    ):
        storage.put("a", b"one")


def test_a_link_to_the_source_is_no_destination(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    (tmp_path / "link").symlink_to(photos)
    for place in (tmp_path / "link", tmp_path / "link" / "new"):
        with pytest.raises(UsageError, match="contain one another"):
            run_job(make_job(photos, place), here)
