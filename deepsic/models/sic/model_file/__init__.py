"""`sic` in a model file.

loading.py      arrays to what codes with them: start here
packing.py      a trained net to tensors
units.py        steps of bytes in the transforms, measured on images
calibration.py  initial probabilities of the coder, measured on images
trainable.py    tensors back to a net that takes gradients
"""
