"""Preset `sic`: wavelet and residual networks, one model for all rates.

net.py                the whole net in training: start here
wavelet/              colour rotation and 9/7 wavelet, and which band lies in which channel
transforms.py         residual networks beside the wavelet
entropy_model/        what each latent's probability is taken from, and the rate in training
packing.py            a trained net to a model file, and back to an engine
trainable.py          a model file back to a net that takes gradients
calibration.py        initial probabilities, counted on images
engine.py             inference: windows to streams and back
transform_runner.py   the transforms at inference
passes.py             which channels each coding pass takes, for training and inference
probability.py        the entropy model at inference
layout.py             channels-last sweeps between them, compiled
int8/                 both kinds of network in bytes
"""
