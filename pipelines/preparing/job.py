"""The job: shards over Ray Data, then the manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from deepsic.errors import InputError
from pipelines import console
from pipelines.manifest import CURRENT, MANIFEST, Manifest, Shard
from pipelines.preparing.files import FileList, FileRef, find_files
from pipelines.preparing.policy import Policy, Source, version_of
from pipelines.preparing.shards import ShardJob, make_shard, report_key, shard_key
from pipelines.runtime import RuntimeOptions, ray_runtime
from pipelines.storage import ObjectMissingError, Storage, open_storage, put_verified

__all__ = ["prepare"]

QUARANTINE = "quarantine.jsonl"
#: Threads that read the reports of a run that is taken up again.
READERS = 16


def prepare(
    sources: list[Source], out: str, policy: Policy, *, workers: int | None = None
) -> Manifest:
    """Prepare the sources' pictures in OUT/VERSION; shards that are there stay.

    Raises:
        InputError: no picture, or not one that can be used.
        StorageError: a place that can't be read or written.
    """
    listed = find_files(sources, policy.exclude)
    version = version_of(policy, sources, listed.hash)
    folder = f"{out.rstrip('/')}/{version}"
    storage = open_storage(folder)
    storage.create()
    storage.clear_temporary()
    size = policy.pictures_a_shard
    chunks = [listed.files[at : at + size] for at in range(0, len(listed.files), size)]
    job = ShardJob(out=folder, sources=tuple(sources), policy=policy, classes=tuple(listed.classes))
    reports = _finished(storage, len(chunks))
    missing = [n for n in range(len(chunks)) if n not in reports]
    console.say(
        f"{len(listed.files)} files, version {version}: "
        f"{len(missing)} of {len(chunks)} shards to do"
    )
    with console.progress("preprocess", len(listed.files)) as progress:
        progress.advance(sum(report["files"] for report in reports.values()))
        for report in _run(job, chunks, missing, workers) if missing else ():
            put_verified(storage, report_key(report["shard"]), json.dumps(report).encode())
            reports[report["shard"]] = report
            progress.advance(
                report["files"], pictures=report["pictures"], quarantined=len(report["quarantine"])
            )
    manifest = _manifest(version, listed, job, [reports[n] for n in range(len(chunks))])
    bad = [item for n in range(len(chunks)) for item in reports[n]["quarantine"]]
    storage.put(QUARANTINE, "".join(json.dumps(item) + "\n" for item in bad).encode())
    if not manifest.counts["pictures"]:
        raise InputError(f"not one of {len(listed.files)} files can be used: {bad[0]['error']}")
    storage.put(MANIFEST, manifest.to_json().encode())
    open_storage(out).put(CURRENT, json.dumps({"version": version}).encode())
    return manifest


def _finished(storage: Storage, chunks: int) -> dict[int, dict[str, Any]]:
    """The reports of shards that are done and still there, by number."""
    shards = {item.key for item in storage.list("shards/")}
    there = {item.key for item in storage.list("reports/")}
    done = [n for n in range(chunks) if report_key(n) in there and shard_key(n) in shards]

    def read(number: int) -> dict[str, Any] | None:
        try:
            report: dict[str, Any] = json.loads(storage.get(report_key(number)).data)
        except (ObjectMissingError, ValueError):
            return None
        return report

    with ThreadPoolExecutor(READERS) as pool:
        found = zip(done, pool.map(read, done), strict=True)
        return {number: report for number, report in found if report is not None}


def _run(
    job: ShardJob, chunks: list[list[FileRef]], missing: list[int], workers: int | None
) -> Iterator[dict[str, Any]]:
    """Shards as Ray Data finishes them; each worker holds one at a time."""
    with ray_runtime(RuntimeOptions(num_cpus=workers)) as where:
        import ray.data

        console.say(f"on {where}")
        # Each shard travels with its own files: the whole list would go to every worker.
        items = [
            {"shard": number, "files": json.dumps([asdict(ref) for ref in chunks[number]])}
            for number in missing
        ]

        def make(row: dict[str, Any]) -> dict[str, Any]:
            files = [FileRef(**ref) for ref in json.loads(row["files"])]
            return {"report": json.dumps(make_shard(job, int(row["shard"]), files))}

        # One shard a block: that is what streams, and what a lost worker repeats.
        made = ray.data.from_items(items, override_num_blocks=len(items)).map(make, num_cpus=1)
        for row in made.iter_rows():
            yield json.loads(row["report"])


def _manifest(
    version: str, listed: FileList, job: ShardJob, reports: list[dict[str, Any]]
) -> Manifest:
    reasons = Counter(item["reason"] for report in reports for item in report["quarantine"])
    labels: Counter[str] = Counter()
    for report in reports:
        labels.update({key: count for key, count in report["labels"].items() if key != "-1"})
    return Manifest(
        version=version,
        source_hash=listed.hash,
        settings={"policy": asdict(job.policy), "sources": [asdict(s) for s in job.sources]},
        classes=listed.classes,
        counts={
            "files": len(listed.files),
            "pictures": sum(report["pictures"] for report in reports),
            "quarantined": sum(reasons.values()),
        }
        | {f"quarantined {reason}": count for reason, count in sorted(reasons.items())},
        class_counts={name: labels[str(n)] for n, name in enumerate(listed.classes)},
        shards=[
            Shard(key=shard_key(r["shard"]), pictures=r["pictures"], sha256=r["sha256"])
            for r in reports
            if r["pictures"]
        ],
    )
