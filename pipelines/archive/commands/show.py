"""What the commands print when they are done."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from deepsic.models.effort import DEFAULT_EFFORT
from deepsic.models.quality import TUNINGS
from pipelines.archive.commands.estimate import Estimate
from pipelines.archive.commands.find import Match
from pipelines.archive.commands.prune import Pruned
from pipelines.archive.commands.report import ArchiveReport
from pipelines.archive.commands.restore import Restored
from pipelines.archive.commands.verify import Verified
from pipelines.archive.job import Summary
from pipelines.archive.ledger import LEDGER
from pipelines.archive.settings import JobSettings
from pipelines.archive.tally import STATUSES
from pipelines.stage import console
from pipelines.storage import Storage

__all__ = [
    "estimate",
    "made",
    "match",
    "pruned",
    "report",
    "restored",
    "stale",
    "summary",
    "verified",
]

MB = 1e6
REASONS_SHOWN = 8


def summary(found: Summary, archive: Storage) -> None:
    """The table at the end of a job."""
    done, already = found.done, found.already
    rows: list[list[object]] = [
        [name, getattr(done, name), getattr(already, name)] for name in STATUSES
    ]
    rows += [
        ["MB in", f"{done.bytes_in / MB:.2f}", f"{already.bytes_in / MB:.2f}"],
        ["MB out", f"{done.bytes_out / MB:.2f}", f"{already.bytes_out / MB:.2f}"],
        [
            "ratio",
            _ratio(done.bytes_in, done.bytes_out),
            _ratio(already.bytes_in, already.bytes_out),
        ],
        ["bpp", 8 * done.bytes_out / done.pixels if done.pixels else None, None],
        ["images/s", done.ok / found.seconds if found.seconds else None, None],
        ["seconds", round(found.seconds, 1), None],
    ]
    console.table("Archive", ["", "this run", "before"], rows)
    for key, reason in done.failures:
        console.say(f"failed: {key}: {reason}")
    stale(found.stale)
    made([archive.url, f"{archive.url}/{LEDGER}"])


def _ratio(bytes_in: int, bytes_out: int) -> str | None:
    return f"{bytes_in / bytes_out:.2f}" if bytes_out else None


def made(paths: list[str]) -> None:
    """Where the results are."""
    for path in paths:
        typer.echo(path)


def estimate(found: Estimate) -> None:
    """What a job would come to."""
    rows: list[list[object]] = [
        ["objects", found.objects],
        ["MB in", f"{found.bytes_in / MB:.2f}"],
        ["MB out, expected", f"{found.bytes_out / MB:.2f}"],
        ["hours, expected", f"{found.hours:.3f}"],
        ["sampled, of these usable", f"{found.sampled}, {found.sampled_ok}"],
    ]
    console.table("Estimate (nothing was written)", ["", "value"], rows)


def stale(count: int) -> None:
    """A warning about sources that turned bad."""
    if count:
        console.say(
            f"warning: {count} sources changed into something without an output; the copies made "
            "of them before are kept, and restore gives those"
        )


def verified(found: Verified) -> None:
    """Counts, and the first outputs that are not what they should be."""
    rows: list[list[object]] = [
        ["checked", found.checked],
        ["damaged or missing", found.damaged],
        ["of these made again by the next run", found.marked],
        ["objects that the ledger doesn't know", found.extra],
    ]
    if found.shared:
        rows.append(["sources that share an output with another", found.shared])
    console.table("Verified", ["", "outputs"], rows)
    _problems(found.problems, found.damaged)


def restored(found: Restored, out: str) -> None:
    """Counts, and the first images that could not be decoded."""
    rows: list[list[object]] = [
        ["written", found.written],
        ["there before", found.present],
        ["failed", found.failed],
    ]
    console.table("Restored", ["", "images"], rows)
    _problems(found.problems, found.failed)
    made([out])


def pruned(found: Pruned, *, deleted: bool) -> None:
    """What was, or would be, deleted."""
    for key in found.first:
        console.say(f"{'deleted' if deleted else 'would delete'} the output of {key}")
    rows: list[list[object]] = [
        ["outputs without a source", found.outputs],
        ["MB", f"{found.size / MB:.2f}"],
    ]
    title = "Deleted" if deleted else "Nothing was deleted; --delete-extraneous does it"
    console.table(title, ["", "value"], rows)


def _problems(problems: list[tuple[str, str]], count: int) -> None:
    for key, problem in problems:
        console.say(f"{key}: {problem}")
    if count > len(problems):
        console.say(f"... and {count - len(problems)} more")


def match(found: Match, *, json_lines: bool) -> None:
    """One image that a search found, on a line."""
    if json_lines:
        typer.echo(json.dumps(asdict(found)))
    else:
        typer.echo(f"{found.probability:6.1%}  {found.name:24}  {found.output_key}")


def report(found: ArchiveReport, failed: list[tuple[str, str, str]], settings: JobSettings) -> None:
    """An archive in numbers."""
    target = ", ".join(f"{name} {value}" for name, value in settings.target.items())
    rows: list[list[object]] = [
        ["job", settings.job_id],
        ["model", f"{settings.model} {settings.model_id}"],
        ["target", target],
    ]
    if settings.tune != TUNINGS[0]:
        rows.append(["tuned for", settings.tune])
    if settings.effort != DEFAULT_EFFORT:
        rows.append(["effort", str(settings.effort)])
    if settings.refine_for:
        rows.append(["refined for", ", ".join(settings.refine_for)])
    if settings.refine_steps:
        rows.append(["steps of it", str(settings.refine_steps)])
    rows += [[name, count] for name, count in sorted(found.status.items())]
    rows += [[f"failed: {kind}", count] for kind, count in sorted(found.kinds.items())]
    rows += [
        [f"{status}: {reason}", count]
        for (status, reason), count in found.reasons.most_common(REASONS_SHOWN)
    ]
    rows += [
        ["MB in", f"{found.bytes_in / MB:.2f}"],
        ["MB out", f"{found.bytes_out / MB:.2f}"],
        ["ratio", found.ratio],
        ["bpp", found.bpp],
        ["PSNR dB (decoded ones)", found.psnr],
        ["encoding, seconds", round(found.seconds, 1)],
    ]
    rows += [[f"label: {name}", count] for name, count in found.labels.most_common(10)]
    console.table("Archive", ["", "value"], rows)
    stale(found.stale)
    for key, kind, reason in failed:
        console.say(f"{kind}: {key}: {reason}")
