"""From a checkpoint to a model file and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from deepsic import weights
from deepsic.errors import InputError
from deepsic.labels import label_set
from deepsic.metrics.provenance import provenance
from deepsic.models.head import HeadConfig, SemanticHead
from deepsic.models.head_file import with_head
from deepsic.models.packing import pack
from deepsic.models.sic import SicNet
from deepsic.training.config import TrainConfig
from pipelines.manifest import Manifest
from pipelines.training.loop import CHECKPOINT
from pipelines.training.pictures import Prepared

__all__ = ["export", "find_checkpoint"]

_MEASURED = 12


def find_checkpoint(place: Path) -> Path:
    """The newest `state.pt` at or below a folder, or the file itself.

    Raises:
        InputError: there is none.
    """
    if place.is_file():
        return place
    found = sorted(place.rglob(CHECKPOINT), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(f"no {CHECKPOINT} in {place}")
    return found[-1]


def export(
    checkpoint: Path, out: Path, *, data: str, metrics: Mapping[str, float] | None = None
) -> bytes:
    """Write a checkpoint's running average as a model file, with a card beside it.

    Args:
        data: a prepared version; its pictures give the file's first probabilities.
        metrics: for the card.

    Returns: the file's identity.

    Raises:
        InputError: no checkpoint, or no prepared pictures.
    """
    try:
        saved: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        config = TrainConfig.from_json(saved["config"])
        net = SicNet(config.model)
        net.load_state_dict(saved["average"])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{checkpoint} is no training checkpoint: {error}") from error
    net.context.set_quantised(True)
    manifest = Manifest.read(data)
    prepared = Prepared(data, rank=0, world=1, memory_mb=200, hold_out=2)
    about = provenance() | {"step": saved["step"], "config": json.loads(saved["config"])}
    about |= {"data": manifest.settings, "manifest": manifest.hash}
    model = pack(net, prepared.validation(_MEASURED), provenance=about)
    if "head_average" in saved:
        classes = len(label_set(config.labels).classes())
        head = SemanticHead(HeadConfig(**asdict(config.head) | {"classes": classes}))
        head.load_state_dict(saved["head_average"])
        model = with_head(model, head, config.labels, {"joint": True, "weight": config.semantic})
    out.parent.mkdir(parents=True, exist_ok=True)
    identity = weights.write(out, model)
    out.with_suffix(".md").write_text(_card(out, identity, about, manifest, metrics or {}))
    return identity


def _card(
    out: Path, identity: bytes, about: Mapping[str, Any], manifest: Manifest,
    metrics: Mapping[str, float],
) -> str:  # fmt: skip
    config = about["config"]
    sources = manifest.settings["sources"]
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items()))
    used = "\n".join(f"- `{Path(s['url']).name}`, weight {s['weight']}" for s in sources)
    excluded = ", ".join(manifest.settings["policy"]["exclude"]) or "nothing"
    return f"""# Model `{out.stem}`

Identity `{identity.hex()}`, preset `sic`, {out.stat().st_size:,} bytes.

## Data
{used}

{manifest.counts["files"]} files, {manifest.counts["pictures"]} pictures,
{manifest.counts["quarantined"]} quarantined. Excluded by name: {excluded}.
Manifest `{manifest.hash}`.

## Recipe
{about["step"]} of {config["steps"]} steps of {config["batch"]} crops of {config["crop"]} pixels a
worker, AdamW at {config["learning_rate"]}, cosine; integer probability nets from
{config["quantise_at"]:.0%}, frozen encoder from {config["freeze_at"]:.0%} of the schedule; running
average {config["ema"]}. Commit {about["commit"]}, {about["date"]}, {about["machine"]}.

    {about["command"]}

## Results on pictures held out of training
The rate is the net's estimate, without file headers; means over five qualities.

| | |
|---|---:|
{rows or "| not measured | |"}

## Limits
Photographs; line art and screens cost more. Colours are sRGB, 8 bits. {_head_line(config)}

## Licence
The weights follow the terms of the pictures above: see each source's own licence before you ship
them.
"""


def _head_line(config: Mapping[str, Any]) -> str:
    if not config.get("semantic"):
        return "No semantic head."
    return f"The semantic head knows the classes of `{config['labels']}` and no others."
