"""Image files and arrays in, checked 8-bit RGB out, and back to files.

load.py    any image to a `LoadedImage`, its size checked before pixels are read: start here
save.py    a decoded image to PNG, JPEG, WebP and so on, with its metadata
alpha.py   the alpha plane inside a `.sic` file
"""
