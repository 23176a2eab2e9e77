"""What `pipelines/evaluate.py` is made of: images, the Ray job, the outputs."""
