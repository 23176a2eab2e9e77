"""Parts of `pipelines/compress_archive.py`; start at `plan.work`.

settings   what decides the bytes, and so the job's identity
keys       where a source's `.sic` goes
chunks     the source's listing, cut into pieces of work
pending    what is left: that listing joined with the ledger
ledger/    one row for each source object, in append-only Parquet parts
cluster    chunks over Ray with bounded memory; a chunk that kills workers is halved
work/      one chunk: read, decode, encode, store, read back, write its ledger part
tally      sums over rows, small enough to travel
job        the driver: resume, progress, failures, summary
plan       from the command line's wishes to a job on a cluster
commands/  estimate, verify, restore, find, report, demo
"""
