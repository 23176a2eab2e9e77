"""Parts of `pipelines/compress_archive.py`; start at `plan.work`.

settings   what decides the bytes, and so the job's identity
keys       where a source's `.sic` goes
listing/   what there is to do: the source's listing joined with the ledger, cut into chunks
ledger/    one row for each source object, in Parquet parts
cluster    chunks over Ray with bounded memory; a chunk that kills workers is halved
work/      one chunk: read, decode, encode, store, read back, write its ledger part
tally      sums over rows, small enough to travel
metrics    a run's numbers for Prometheus
job        the driver: resume, progress, failures, summary
options    options of the commands: types and help texts
query      what a search for a label means
plan       from the command line's wishes to a job on a cluster
commands/  estimate, verify, restore, find, report, prune, export, demo
"""
