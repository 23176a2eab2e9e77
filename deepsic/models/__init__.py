"""Networks, one folder a preset, and what they share.

    sic/         the default: wavelet, residual networks, entropy model
    fourstage/   the first paper's net: presets `deepsic-pre` and `deepsic-post`
    saic/        the second paper's binary quantiser
    semantic/    heads that read labels from latents, and labelers
    tiles/       large images in tiles: pixels to streams, and back

    registry.py         presets by name
    quality.py          quality 1 .. 100 to Lagrangian weight and quantisation step
    quality_tables.py   what follows quality, in files, read without torch
    effort.py           1 .. 9 to what encoding does
    device.py           where networks run
    blocks.py           layers that several nets are made of
    integer.py          convolutions with the same sums on every machine
    int8_weights.py     weights in model files as bytes
    output.py           what every net gives in training
    sweeps_cpu.py       element-wise steps of training as single sweeps on a CPU

A preset has a net (`net.py`) to train and an engine (`engine.py`) that codes; to read one from the
top, start with `sic/net.py`.
"""
