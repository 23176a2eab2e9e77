"""From whole numbers to bits and back: numpy and numba only, the same bytes on every machine.

range_coder.py       the adaptive binary arithmetic coder: start here
binarisation.py      how a symbol becomes binary decisions, and the contexts of each
symbol_kernels.py    one symbol, inlined into the loops of the next two
context_kernels.py   compiled loops over one pass of `sic`'s latents
serial_kernels.py    the same over its hyper-latent and lowest band, with small networks
hidden_signs.py      signs that parity says
bit_planes.py        the first paper's six-bit features, plane by plane (DeepSIC section III-B)
dense.py             a layer of those networks, compiled to stay in registers
vectors.py           what such machine code is built from
raw_pointers.py      arrays without reference counts, for those loops
scratch.py           large arrays whose memory is kept from image to image
"""
