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
from deepsic.evaluation.provenance import provenance
from deepsic.labels import label_set
from deepsic.models.fourstage.config import PRESETS
from deepsic.models.fourstage.file import pack_four_stage
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.semantic.head import HeadConfig, SemanticHead
from deepsic.models.semantic.head_file import with_head
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.packing import pack
from deepsic.training.config import TrainConfig
from deepsic.training.four_stage import FourStageTrainConfig
from deepsic.training.presets import read_config
from deepsic.weights import ModelFile
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
        config = read_config(saved["config"])
        net = _net(config)
        net.load_state_dict(saved["average"])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{checkpoint} is no training checkpoint: {error}") from error
    manifest = Manifest.read(data)
    prepared = Prepared(data, rank=0, world=1, memory_mb=200, hold_out=2)
    about = provenance() | {"step": saved["step"], "config": json.loads(saved["config"])}
    about |= {"data": manifest.about()}
    pictures = prepared.validation(_MEASURED)
    if isinstance(net, FourStageNet) and isinstance(config, FourStageTrainConfig):
        labels = config.labels if config.semantic else None
        model = pack_four_stage(net.eval(), pictures, label_set=labels, provenance=about)
    elif isinstance(net, SicNet):
        net.context.set_quantised(True)
        model = pack(net, pictures, provenance=about)
    if "head_average" in saved and isinstance(config, TrainConfig):
        classes = len(label_set(config.labels).classes())
        head = SemanticHead(HeadConfig(**asdict(config.head) | {"classes": classes}))
        head.load_state_dict(saved["head_average"])
        model = with_head(model, head, config.labels, {"joint": True, "weight": config.semantic})
    out.parent.mkdir(parents=True, exist_ok=True)
    identity = weights.write(out, model)
    card = _card(out, identity, model, manifest, metrics or {})
    out.with_suffix(".md").write_text(card)
    return identity


def _net(config: TrainConfig | FourStageTrainConfig) -> SicNet | FourStageNet:
    if isinstance(config, FourStageTrainConfig):
        return FourStageNet(config.model)
    return SicNet(config.model)


def _card(
    out: Path, identity: bytes, model: ModelFile, manifest: Manifest,
    metrics: Mapping[str, float],
) -> str:  # fmt: skip
    about = model.provenance
    config = about["config"]
    sources = about["data"]["sources"]
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items()))
    used = "\n".join(f"- `{s['url']}`, weight {s['weight']}" for s in sources)
    excluded = ", ".join(manifest.settings["policy"]["exclude"]) or "nothing"
    return f"""# Model `{out.stem}`

Identity `{identity.hex()}`, preset `{model.preset}`, {out.stat().st_size:,} bytes.

## Data
{used}

{manifest.counts["files"]} files, {manifest.counts["pictures"]} pictures,
{manifest.counts["quarantined"]} quarantined. Excluded by name: {excluded}.
Manifest `{manifest.hash}`.

## Recipe
{about["step"]} of {config["steps"]} steps of {config["batch"]} crops of {config["crop"]} pixels a
worker, {_recipe(model.preset, config)}; running average {config["ema"]}.
Commit {about["commit"]}, {about["date"]}, {about["machine"]}.

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


def _recipe(preset: str, config: Mapping[str, Any]) -> str:
    if preset in PRESETS:
        start = "a lapped transform" if config["linear_start"] else "random weights"
        return (
            f"Adam at {config['learning_rate']}, {config['schedule']}, from {start}; "
            f"lambda_2 {config['lambda2']}"
        )
    return (
        f"AdamW at {config['learning_rate']}, cosine; integer probability nets from "
        f"{config['quantise_at']:.0%}, frozen encoder from {config['freeze_at']:.0%} of the way"
    )


def _head_line(config: Mapping[str, Any]) -> str:
    if not config.get("semantic") and not config.get("lambda2"):
        return "No semantic head."
    return f"The semantic head knows the classes of `{config['labels']}` and no others."
