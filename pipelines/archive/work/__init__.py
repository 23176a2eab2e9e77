"""What a worker process does with one chunk; start at `chunk.compress_chunk`.

chunk    read, decode, encode, store, read back, and only then write the ledger part
images   bytes to pixels, and what is refused
encoder  images of a chunk, batched by size, to `.sic` bytes
codec    what the worker asks of a codec, and how a process comes by one
check    is a file that was just made what the contract calls ok?
timing   time limits of images
"""
