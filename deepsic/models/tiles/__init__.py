"""A large image is coded in tiles.

tiling.py     tiles and the windows that transforms see around them: start here
encoding.py   pixels to streams
drawing.py    streams to pixels
"""
