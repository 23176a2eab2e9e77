"""What says which classes an image shows.

head.py         the semantic head of `sic` (DeepSIC Fig. 4): start here
head_input.py   what it reads: latents as a pyramid of bands
head_file.py    a head in a model file
reader.py       a head at work on images and on files
labeler.py      labels from a classifier of your choice, to store when encoding
"""
