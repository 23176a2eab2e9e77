"""What `train.py` is made of: job, pictures, the worker's loop, validation, export."""
