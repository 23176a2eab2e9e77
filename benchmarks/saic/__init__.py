"""Parts of `benchmarks/saic/run.py`."""
