"""The first paper's presets, `deepsic-pre` and `deepsic-post`: DeepSIC sections III and IV.

| file | part of the paper |
|---|---|
| `config.py` | section IV-B: filters, sub-sampling, the paper's recipe and ours |
| `stages.py` | Fig. 3: four-stage feature extraction and its mirror |
| `quantiser.py` | Eq. 1: six bits, and the inverse |
| `density.py` | Eq. 5 and 6: masses of the quantised features, and the rate |
| `semantic.py` | Fig. 4 and Eq. 3: convolutions, two fully connected layers, softmax; ours |
| `net.py` | Eq. 2: all of it together |
| `start.py` | ours: weights that make the untrained net a lapped transform |
| `bits.py` | section III-B: the classifier that predicts each bit, trained, then in integers |
| `engine.py`, `file.py` | windows of an image to streams and back; model files |
"""
