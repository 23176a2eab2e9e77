"""What `preprocess.py` is made of: sources, policy, shards, manifest."""
