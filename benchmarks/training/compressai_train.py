"""CompressAI's training step in an environment of its own, for train_speed.py.

    python compressai_train.py BATCH CROP STEPS WARM_UP

One JSON object: `{"steps_per_s": ...}`. `bmshj2018-factorized` at quality 4, one thread, Adam on
rate and distortion and on the auxiliary loss, as in CompressAI's own example.
"""

from __future__ import annotations

import json
import math
import sys
import time


def main() -> None:
    """Train on noise: a step costs the same on any pixels."""
    import torch
    from compressai.zoo import image_models

    batch, crop, steps, warm_up = (int(word) for word in sys.argv[1:5])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    net = image_models["bmshj2018-factorized"](quality=4, pretrained=False).train()
    last = {id(p) for name, p in net.named_parameters() if name.endswith("quantiles")}
    main_part = [p for p in net.parameters() if id(p) not in last]
    optimiser = torch.optim.Adam(main_part, lr=1e-4)
    auxiliary = torch.optim.Adam([p for p in net.parameters() if id(p) in last], lr=1e-3)
    begun = 0.0
    for step in range(steps):
        if step == warm_up:
            begun = time.perf_counter()
        x = torch.rand(batch, 3, crop, crop)
        optimiser.zero_grad()
        auxiliary.zero_grad()
        made = net(x)
        bits = sum(p.log().sum() for p in made["likelihoods"].values()) / -math.log(2)
        loss = bits / (batch * crop * crop) + 0.0067 * 255**2 * (made["x_hat"] - x).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        net.aux_loss().backward()
        auxiliary.step()
    print(json.dumps({"steps_per_s": (steps - warm_up) / (time.perf_counter() - begun)}))


if __name__ == "__main__":
    main()
