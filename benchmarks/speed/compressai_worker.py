"""CompressAI in an environment of its own (it needs numpy<2), asked over pipes by codec_speed.py.

Standard input: one JSON object a line, `{"path": ..., "model": ..., "threads": ...}`. Standard
output: `{"encode_s": ..., "decode_s": ..., "bytes": ...}`, or `{"error": ...}`. The models have
random weights: they cost the same time as trained ones to transform, and about as many symbols
to code.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

QUALITY = 4  # the zoo's middle rate, the smaller of its two network sizes


def main() -> None:
    """Answer until the input ends."""
    import numpy as np
    import torch
    from compressai.zoo import image_models
    from PIL import Image

    torch.manual_seed(0)
    models: dict[str, Any] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        name = ask["model"]
        if name not in models:
            models[name] = image_models[name](quality=QUALITY, pretrained=False).eval()
            models[name].update(force=True)
        model = models[name]
        torch.set_num_threads(ask["threads"])
        with Image.open(ask["path"]) as image:
            pixels = np.asarray(image.convert("RGB"))
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        x = torch.nn.functional.pad(x, (0, -x.shape[3] % 64, 0, -x.shape[2] % 64), mode="replicate")
        with torch.no_grad():
            started = time.perf_counter()
            made = model.compress(x)
            encoded = time.perf_counter()
            model.decompress(made["strings"], made["shape"])
            decoded = time.perf_counter()
        answer = {
            "encode_s": encoded - started,
            "decode_s": decoded - encoded,
            "bytes": sum(len(part[0]) for part in made["strings"]),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
