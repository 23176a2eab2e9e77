"""Parts of `pipelines/compress_archive.py`, one noun a file.

settings   what decides the bytes, and so the job's identity
keys       where a source's `.sic` goes
chunks     the source's listing, cut into pieces of work
ledger     one row for each source object, in append-only Parquet parts
pictures   bytes to pixels, and what is refused
encoder    pictures of a chunk, batched by size, to `.sic` bytes
worker     one chunk: read, encode, store, read back, write its ledger part
cluster    chunks over Ray with bounded memory; a chunk that kills workers is halved
job        the driver: resume, progress, failures, summary
estimate verify restore find report demo   the other commands
"""
