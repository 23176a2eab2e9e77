"""Preset `sic`: wavelet and residual networks, one model for all rates.

net.py                the whole net in training: start here
wavelet/              colour rotation and 9/7 wavelet, and which band lies in which channel
transforms.py         residual networks beside the wavelet
entropy_model/        what each latent's probability is taken from, and the rate in training
config.py             its sizes
dead_units.py         units that training lost, started anew

engine.py             inference: windows to streams and back
byte_transforms.py    the transforms on a CPU, in bytes and without torch
transform_runner.py   the same with torch: on a GPU, or from a file without units for bytes
probability.py        the entropy model at inference
tile_coder/           its latents to a stream and back
passes.py             which channels each coding pass takes, for training and inference
int8/                 both kinds of network in bytes, compiled
affine.py             matrix products of floats, for small layers
layout.py             small helpers between arrays and planes of bytes
model_file/           a trained net to a model file and back
"""
