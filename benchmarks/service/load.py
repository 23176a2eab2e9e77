"""Speed, overload, fairness, redeploy, chaos and drain of the service.

    python benchmarks/service/load.py PICTURE.png
    python benchmarks/service/load.py PICTURE.png --only chaos --only drain --chaos-seconds 300

Starts `pipelines/serve.py` on a free port, runs the experiments one after the other, and ends it.
PICTURE should be 768x512. Every 200 answer is compared with what the codec gives in this process;
any difference is counted as "wrong". Results so far are written after each experiment.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import options
from benchmarks.service import experiments
from benchmarks.service.kit import report, serving
from benchmarks.service.speed import speed
from benchmarks.service.truth import Truth

PLAIN = "--classifier none --min-replicas 2 --max-replicas 2 --cpus-per-replica 1"
EXPERIMENTS = ("speed", "overload", "fair", "redeploy", "chaos", "drain")


def main(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(EXPERIMENTS)}; repeatable, drain last.  [default: all]"),
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="Length of each load.")] = 20,
    chaos_seconds: Annotated[float, typer.Option(metavar="S", help="Length of the chaos.")] = 600,
    every: Annotated[float, typer.Option(metavar="S", help="Between killed processes.")] = 60,
    victims: Annotated[
        str, typer.Option(help="Who is killed in turn; 'proxy' is the only one of its kind.")
    ] = "codec codec ingress",
    serve_options: Annotated[str, typer.Option(help="More for serve.py, in one string.")] = "",
    out: options.Out = None,
) -> None:
    """Run the experiments."""
    names = options.chosen(only, EXPERIMENTS)
    names.sort(key=lambda name: name == "drain")  # last: it ends the service
    truth = Truth(image.read_bytes())
    log = Path(tempfile.mkdtemp(prefix="serve-load-")) / "serve.log"
    results: dict[str, Any] = {}
    with serving(*PLAIN.split(), *serve_options.split(), log=log) as service:
        for name in names:
            if name == "speed":
                results[name] = speed(service, truth, seconds)
                report(results, out)
                continue
            if name == "chaos":
                run = experiments.chaos(service, truth, chaos_seconds, every, victims.split())
            elif name == "drain":
                run = experiments.drain(service, truth)
            else:
                run = getattr(experiments, name)(service, truth, seconds)
            results[name] = asyncio.run(run)
            report(results, out)


if __name__ == "__main__":
    options.run(main)
