"""The job: shards over Ray Data, then the manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from deepsic.errors import InputError, counted
from pipelines.manifest import CURRENT, MANIFEST, Manifest, Shard
from pipelines.preparing.files import FileList, FileRef, find_files, named_classes
from pipelines.preparing.policy import DataSource, Policy, version_of
from pipelines.preparing.shards import ShardJob, make_shards, report_key
from pipelines.stage import console
from pipelines.stage.runtime import RuntimeOptions, ray_runtime
from pipelines.storage import ObjectMissingError, Storage, open_storage, put_verified

__all__ = ["manifest_of", "prepare", "tasks_of"]

QUARANTINE = "quarantine.jsonl"
#: Threads that read the reports of a run that is taken up again.
READERS = 16


def prepare(
    sources: list[DataSource], out: str, policy: Policy, *, runtime: RuntimeOptions | None = None
) -> Manifest:
    """Prepare the sources' images in OUT/VERSION; shards that are there stay.

    Raises:
        InputError: no image, or not one that can be used.
        StorageError: a place that can't be read or written.
    """
    listed = find_files(sources, policy.exclude)
    names = tuple(tuple(named_classes(source)) for source in sources)
    version = version_of(policy, sources, f"{listed.hash}{names if any(names) else ''}")
    folder = f"{out.rstrip('/')}/{version}"
    storage = open_storage(folder)
    storage.create()
    storage.clear_temporary()
    tasks = tasks_of(listed.files, policy.pictures_a_shard)
    job = ShardJob(out=folder, sources=tuple(sources), policy=policy, class_names=names)
    reports = _finished(storage, len(tasks))
    missing = [n for n in range(len(tasks)) if n not in reports]
    console.say(
        f"{counted(len(listed.files), 'file')}, version {version}: "
        f"{len(missing)} of {counted(len(tasks), 'task')} to do"
    )
    with console.progress("preprocess", len(tasks)) as progress:
        progress.advance(len(reports))
        for report in _run(job, tasks, missing, runtime) if missing else ():
            put_verified(storage, report_key(report["task"]), json.dumps(report).encode())
            reports[report["task"]] = report
            progress.advance(images=report["pictures"], quarantined=len(report["quarantine"]))
    manifest = manifest_of(version, listed, job, [reports[n] for n in range(len(tasks))])
    bad = [item for n in range(len(tasks)) for item in reports[n]["quarantine"]]
    storage.put(QUARANTINE, "".join(json.dumps(item) + "\n" for item in bad).encode())
    if not manifest.counts["pictures"]:
        said = f": {bad[0]['key']}: {bad[0]['error']}" if bad else ""
        raise InputError(
            f"not one of {counted(manifest.counts['files'], 'image')} can be used{said}"
        )
    storage.put(MANIFEST, manifest.to_json().encode())
    open_storage(out).put(CURRENT, json.dumps({"version": version}).encode())
    return manifest


def tasks_of(files: list[FileRef], size: int) -> list[list[FileRef]]:
    """Image files some at a time; tars and Parquet files each for itself."""
    plain = [file for file in files if not file.is_container]
    packed = [file for file in files if file.is_container]
    return [plain[at : at + size] for at in range(0, len(plain), size)] + [[f] for f in packed]


def _finished(storage: Storage, tasks: int) -> dict[int, dict[str, Any]]:
    """The reports of tasks whose shards are all there, by number."""
    shards = {item.key for item in storage.list("shards/")}
    there = {item.key for item in storage.list("reports/")}
    done = [n for n in range(tasks) if report_key(n) in there]

    def read(number: int) -> dict[str, Any] | None:
        try:
            report: dict[str, Any] = json.loads(storage.get(report_key(number)).data)
        except (ObjectMissingError, ValueError):
            return None
        return report if {shard["key"] for shard in report["shards"]} <= shards else None

    with ThreadPoolExecutor(READERS) as pool:
        found = zip(done, pool.map(read, done), strict=True)
        return {number: report for number, report in found if report is not None}


def _run(
    job: ShardJob, tasks: list[list[FileRef]], missing: list[int], runtime: RuntimeOptions | None
) -> Iterator[dict[str, Any]]:
    """Reports as Ray Data finishes the tasks; each worker holds one shard at a time."""
    workers = None if runtime is None else runtime.num_cpus  # on a cluster as well
    with ray_runtime(runtime) as where:
        import ray.data

        console.say(f"on {where}")
        # Each task travels with its own files: the whole list would go to every worker.
        items = [
            {"task": number, "files": json.dumps([asdict(ref) for ref in tasks[number]])}
            for number in missing
        ]

        def make(row: dict[str, Any]) -> dict[str, Any]:
            files = [FileRef(**ref) for ref in json.loads(row["files"])]
            return {"report": json.dumps(make_shards(job, int(row["task"]), files))}

        # One task a block: that is what streams, and what a lost worker repeats.
        made = ray.data.from_items(items, override_num_blocks=len(items)).map(
            make, num_cpus=1, concurrency=workers
        )
        for row in made.iter_rows():
            yield json.loads(row["report"])


def manifest_of(
    version: str, listed: FileList, job: ShardJob, reports: list[dict[str, Any]]
) -> Manifest:
    reasons = Counter(item["reason"] for report in reports for item in report["quarantine"])
    classes = Counter(dict.fromkeys(listed.classes, 0))
    for report in reports:
        classes.update({name: count for name, count in report["classes"].items() if name})
    numbered = all(name.isdecimal() for name in classes)
    names = sorted(classes, key=int) if numbered else sorted(classes)
    return Manifest(
        version=version,
        source_hash=listed.hash,
        settings={"policy": asdict(job.policy), "sources": [asdict(s) for s in job.sources]},
        classes=names,
        counts={
            "files": sum(report["files"] for report in reports),
            "pictures": sum(report["pictures"] for report in reports),
            "quarantined": sum(reasons.values()),
        }
        | {f"quarantined {reason}": count for reason, count in sorted(reasons.items())},
        class_counts={name: classes[name] for name in names},
        shards=[Shard(**shard) for report in reports for shard in report["shards"]],
    )
