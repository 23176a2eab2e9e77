"""Networks, one folder a preset, and what they share.

    sic/         the default: wavelet, residual networks, entropy model
    fourstage/   the first paper's net: presets `deepsic-pre` and `deepsic-post`
    saic/        the second paper's binary quantiser
    semantic/    heads that read labels from latents, and labelers

    quality.py          quality 1 .. 100 to Lagrangian weight and quantisation step
    blocks.py           layers that several nets are made of
    integer.py          convolutions with the same sums on every machine
    int8_weights.py     weights in model files as bytes
    output.py           what every net gives in training
    sweeps_cpu.py       element-wise steps of training as single sweeps on a CPU
    tiling.py           tiles of an image and the windows that engines see

A preset has a net (`net.py`) to train and an engine (`engine.py`) that codes; to read one from the
top, start with `sic/net.py`.
"""
