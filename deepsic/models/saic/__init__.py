"""Preset `saic`: an encoder and decoder with a binary quantiser (SAIC section 3.2).

net.py      the net in training, Eq. 6 and 7: start here
engine.py   inference, and its model files
"""
