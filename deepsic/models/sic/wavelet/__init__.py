"""The linear path: colour rotation and four levels of the 9/7 wavelet.

bands.py         which band lies in which channel, and in which pass it is coded: start here
lifting.py       the transform in torch
lifting_cpu.py   the same on whole 8-bit images, compiled
"""
