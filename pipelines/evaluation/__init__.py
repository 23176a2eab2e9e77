"""What `pipelines/evaluate.py` is made of: pictures, the Ray job, the outputs."""
