"""What `train.py` is made of: job, images, the worker's loop, validation, export."""
