"""Training without a framework: configuration, crops, objective, and the state that is saved.

`pipelines/train.py` distributes exactly this over Ray; nothing here knows of Ray.
"""
