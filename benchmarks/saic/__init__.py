"""Parts of `benchmarks/saic_tables.py`."""
