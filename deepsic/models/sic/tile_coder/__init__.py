"""A tile's latents to a stream and back, pass by pass, as the probability model tells.

tables.py    what ships with a model for it
coder.py     buffers and order that both directions share
encoder.py   latents to a stream
decoder.py   a stream to latents
"""
