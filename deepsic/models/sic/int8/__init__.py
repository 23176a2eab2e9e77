"""Networks in bytes, compiled by numba: exact sums, the same on every machine.

layer.py         a convolution and what follows it, in one sweep: start here
dot_product.py   its inner loop
matrix_unit.py   the same by Intel's AMX
planes.py        activations as bytes
integer_net.py   the entropy model's layers, and a coding pass's three in one sweep
byte_trunk.py    the transforms' networks: near the float ones
"""
