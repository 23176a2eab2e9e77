"""From a checkpoint to a model file and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepsic import atomic, weights
from deepsic.errors import InputError, UsageError
from deepsic.evaluation.provenance import provenance
from deepsic.models import registry
from deepsic.models.semantic.joint import JointNet
from deepsic.training.checkpoint import read_checkpoint
from deepsic.training.data.images import middle
from deepsic.training.recipe import Recipe
from deepsic.training.run import BEST, CHECKPOINT
from deepsic.training.start import from_checkpoint, model_file_of
from deepsic.training.validation import QUALITIES
from deepsic.weights import ModelFile
from pipelines.models import model_file
from pipelines.training.sources import Images

__all__ = ["export", "find_checkpoint", "real_rates"]

_MEASURED = 12
"""Images whose statistics give the file its first probabilities."""


def find_checkpoint(place: Path, *, best: bool = False) -> Path:
    """The newest checkpoint at or below a folder, or the file itself.

    Args:
        best: that of the best validation, in place of the last.

    Raises:
        InputError: there is none.
    """
    if place.is_file():
        return place
    name = BEST if best else CHECKPOINT
    found = sorted(place.rglob(name), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(f"no {name} in {place}")
    return found[-1]


def export(
    checkpoint: Path, out: Path, *, images: Images, metrics: Mapping[str, float] | None = None,
    onto: str | None = None,
) -> bytes:  # fmt: skip
    """Write a checkpoint's running average as a model file, with a card beside it.

    Args:
        images: those held out give the file's first probabilities.
        metrics: for the card, beside the rates of real files.
        onto: model or model file that takes the semantic module, if that was trained alone; None:
            the one that training started from.

    Returns: the file's identity.

    Raises:
        InputError: no checkpoint.
        UsageError: a net that files can't hold yet; `onto` where the codec was trained as well, or
            of another kind.
    """
    state = read_checkpoint(checkpoint)
    net, recipe = from_checkpoint(checkpoint)
    run = provenance()
    # When, where and by which words it was run is the card's: one recipe, one seed, one file.
    about: dict[str, Any] = {name: run[name] for name in ("version", "commit", "libraries")}
    about |= {"step": state["step"], "recipe": json.loads(recipe.to_json())}
    about["recipe"]["start"] = [Path(name).name for name in recipe.start]  # not this disk's paths
    about |= {"data": images.about}
    model = _packed(net, recipe, images, about, onto)
    identity = weights.write(out, model)
    metrics = dict(metrics or {}) | real_rates(out, images)
    card = _card(out, identity, model, recipe, metrics, run)
    atomic.write(out.with_suffix(".md"), card.encode())
    return identity


def real_rates(model: Path, images: Images) -> dict[str, float]:
    """Mean bpp and PSNR of real files of the held-out images, headers and all, by a model file."""
    from deepsic import Codec

    codec = Codec.load(model, tune="psnr")
    held = images.held_out
    made: dict[str, float] = {}
    for quality in QUALITIES:
        rates, gains = [], []
        for row in range(len(held)):
            pixels = middle(held.image(row), 512)
            blob = codec.encode(pixels, quality=quality, labels=False)
            error = np.square(np.asarray(codec.decode(blob), np.float64) - pixels).mean()
            rates.append(8 * len(blob) / (pixels.shape[0] * pixels.shape[1]))
            gains.append(10 * np.log10(255**2 / max(error, 1e-6)))
        made[f"files/bpp_q{quality}"] = float(np.mean(rates))
        made[f"files/psnr_q{quality}"] = float(np.mean(gains))
    return made


def _packed(
    net: Any, recipe: Recipe[Any, Any], images: Images, about: dict[str, Any], onto: str | None
) -> ModelFile:
    preset = registry.preset(recipe.preset)
    alone = recipe.objective.labels_alone and bool(recipe.start)
    if onto and not alone:
        raise UsageError(f"recipe {recipe.name} trains the codec too: leave --onto out")
    if alone:
        # The codec stays the file's, to the bit: what it coded before still decodes.
        name = onto or recipe.start[0]
        file = model_file_of(name, model_file)
        if file is None:
            raise InputError(f"a head belongs to a model file; {name} is a checkpoint")
        if registry.preset(file.preset).net != preset.net:
            raise UsageError(f"{name} is of preset {file.preset}, the head of {recipe.preset}")
        return _labelled(preset, file, net, recipe, about)
    held = images.held_out
    measured = [middle(held.image(k), 512) for k in range(min(len(held), _MEASURED))]
    measured = [image for image in measured if min(image.shape[:2]) >= 32]
    if not measured:
        raise InputError("no image of 32 pixels or more to measure first probabilities on")
    codec = net.codec if isinstance(net, JointNet) else net
    labels = {} if isinstance(net, JointNet) else {"label_set": recipe.labels or None}
    model: ModelFile = registry.load(preset.pack)(codec, measured, provenance=about, **labels)
    if isinstance(net, JointNet) and recipe.labels:
        model = _labelled(preset, model, net, recipe, about)
    return model


def _labelled(
    preset: registry.Preset, file: ModelFile, net: Any, recipe: Recipe[Any, Any],
    about: dict[str, Any],
) -> ModelFile:  # fmt: skip
    made: ModelFile = registry.load(preset.with_labels)(file, net, recipe.labels, about)
    return made


def _card(
    out: Path, identity: bytes, model: ModelFile, recipe: Recipe[Any, Any],
    metrics: Mapping[str, float], run: Mapping[str, str],
) -> str:  # fmt: skip
    about = model.provenance.get("head_training") or model.provenance
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items()))
    used = "\n".join(f"- `{s['url']}`, weight {s['weight']}" for s in _sources(about["data"]))
    stages = "\n".join(
        f"- {stage.steps} steps at {stage.learning_rate:g} ({stage.decay})"
        + (", probability nets in integers" if stage.integer else "")
        + (f", frozen: {', '.join(stage.frozen)}" if stage.frozen else "")
        for stage in recipe.stages
    )
    crops = ", ".join(f"{crop.batch} of {crop.side}" for crop in recipe.crops)
    return f"""# Model `{out.stem}`

Identity `{identity.hex()}`, preset `{model.preset}`, {out.stat().st_size:,} bytes.

## Data
{used or "- see the recipe"}

## Recipe
`{recipe.name}`, {about["step"]} of {recipe.steps} steps; crops a worker and step: {crops}; start:
{", ".join(recipe.start) or "a new net"}; running average {recipe.optimiser.ema}.

{stages}

Commit {run["commit"]}, {run["date"]}, {run["machine"]}.

    {run["command"]}

## Results on images held out of training
`val/`: the rate is the net's estimate, without file headers. `files/`: whole files.

| | |
|---|---:|
{rows or "| not measured | |"}

## Limits
Photographs; line art and screens cost more. Colours are sRGB, 8 bits. {_labels_line(recipe)}

## Licence
The weights follow the terms of the images above: see each source's own licence before you ship
them.
"""


def _sources(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = data.get("joined", [data])
    return [source for part in parts for source in part.get("sources", [])]


def _labels_line(recipe: Recipe[Any, Any]) -> str:
    if not recipe.labels:
        return "No semantic head."
    return f"The semantic head knows the classes of `{recipe.labels}` and no others."
