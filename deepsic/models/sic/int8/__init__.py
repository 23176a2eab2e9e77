"""`sic`'s networks in bytes, on CPUs with 8-bit integer units.

byte_conv.py     one convolution through oneDNN, and whether it is exact here: start here
integer_net.py   the entropy model's layers: exact everywhere, in bytes where that is fast
byte_trunk.py    the transforms' networks: near the float ones
"""
