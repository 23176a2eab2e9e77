"""Models from s3://: once a node, by hash, and never other bytes than the job began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepsic import weights
from deepsic.errors import UnknownModelError, UsageError
from pipelines.models import model_file, pinned
from pipelines.storage import StorageFullError, open_storage, sha256


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPSIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_names_stay_and_paths_become_absolute(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"model")
    assert pinned("sic") == "sic"
    assert pinned(str(path)) == str(path)
    monkeypatch.chdir(path.parent)
    assert pinned(path.name) == str(path)
    assert model_file("sic") == weights.resolve("sic")
    assert model_file(str(path)) == path
    assert not cache.exists()


def test_a_model_is_fetched_once_and_pinned_to_its_bytes(bucket: str, cache: Path) -> None:
    store = open_storage(f"{bucket}/models")
    store.put("own.safetensors", b"first")
    place = pinned(f"{bucket}/models/own.safetensors")
    assert place == f"{bucket}/models/own.safetensors#sha256={sha256(b'first')}"
    path = model_file(place)
    assert path == cache / "models" / sha256(b"first") / "own.safetensors"
    store.put("own.safetensors", b"second")
    assert model_file(place).read_bytes() == b"first"
    assert model_file(f"{bucket}/models/own.safetensors").read_bytes() == b"second"
    path.write_bytes(b"fir")  # cut short by a crash of the node: it is fetched again
    with pytest.raises(UnknownModelError, match=r"holds another model .* start the job again"):
        model_file(place)
    store.put("own.safetensors", b"first")
    assert model_file(place).read_bytes() == b"first"
    assert sorted(p.name for p in cache.rglob("*") if p.is_file()) == ["own.safetensors"] * 2


def test_what_is_not_there_is_named(bucket: str, cache: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"no model at s3://.*/none\.safetensors"):
        pinned(f"{bucket}/none.safetensors")
    with pytest.raises(UsageError):
        model_file("s3://")


def test_no_space_names_the_cache(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource
    import signal

    monkeypatch.setenv("DEEPSIC_CACHE", str(tmp_path / "small"))
    open_storage(bucket).put("own.safetensors", bytes(200_000))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(StorageFullError, match="DEEPSIC_CACHE"):
            model_file(f"{bucket}/own.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not [path for path in (tmp_path / "small").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_archive_service_and_evaluation_take_a_model_from_s3(
    bucket: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    from deepsic.evaluation.baselines import find_codecs
    from pipelines.archive.work.codec import ModelSource
    from pipelines.evaluation.models import local_codecs, on_this_node
    from pipelines.serving.settings import ServeSettings
    from pipelines.serving.work.worker import load_codec

    shipped = weights.resolve("sic")
    open_storage(bucket).put("m/own@1.safetensors", shipped.read_bytes())
    url, identity = f"{bucket}/m/own@1.safetensors", weights.identity_of(shipped).hex()
    source = ModelSource(model=url).on("cpu")
    settings = ServeSettings(models=(url,), classifier=None).check()
    names, places = local_codecs(["jpeg", f"sic:{url}", f"sic:{url}@efficientnet-lite0", "sic"])
    # Another node, with a cache elsewhere; the key holds something else by now.
    open_storage(bucket).put("m/own@1.safetensors", b"other")
    there = tmp_path / "there"
    here = next(cache.rglob("own@1.safetensors"))
    copy = there / "models" / here.parent.name / here.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(here.read_bytes())
    coders = pickle.loads(pickle.dumps(find_codecs(names)[0]))
    monkeypatch.setenv("DEEPSIC_CACHE", str(there))
    here.unlink()
    assert source.identity() == identity
    assert source.load().identity.hex() == identity
    assert load_codec(settings.models[0], settings).identity.hex() == identity  # type: ignore[attr-defined]
    on_this_node(coders, places)
    assert [vars(coder).get("model") for coder in coders] == [None, str(copy), str(copy), "sic"]
    assert [coder.name for coder in coders[1:3]] == ["own@1", "own@1@efficientnet-lite0"]
