"""Image files and arrays in, checked 8-bit RGB out, and back to files.

load.py       any image to a `LoadedImage`, its size checked before pixels are read: start here
decoders.py   which of Pillow's decoders see a file, and names for whatever they raise
jpeg_xl.py    what JPEG XL's plugin doesn't tell before it decodes
arrays.py     arrays and tensors
pixels.py     depths and modes to 8-bit L, RGB and RGBA
metadata.py   EXIF, ICC profile and XMP, out of images and into them
save.py       a decoded image to PNG, JPEG, WebP and so on, with its metadata
alpha.py      the alpha plane inside a `.sic` file
suffixes.py   endings of image files
pillow_plugin.py   Pillow opens and saves `.sic`
"""
