"""What says which classes an image shows.

head.py         the semantic head of `sic` in training (DeepSIC Fig. 4): start here
head_config.py  its sizes
head_input.py   what it reads: latents as an image, of which size
byte_head.py    the head at inference, in bytes and without torch
head_file.py    a trained head to a model file and back
joint.py        a codec with a head beside it, to train
reader.py       a head at work on images and on files
labeler.py      labels from a classifier of your choice, to store when encoding
"""
