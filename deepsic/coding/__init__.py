"""From whole numbers to bits and back: numpy and numba only, the same bytes on every machine.

range_coder.py       the adaptive binary arithmetic coder: start here
binarisation.py      how a symbol becomes binary decisions, and the contexts of each
context_kernels.py   compiled loops over one pass of `sic`'s latents
bit_planes.py        the first paper's six-bit features, plane by plane (DeepSIC section III-B)
raw_pointers.py      arrays without reference counts, for those loops
"""
