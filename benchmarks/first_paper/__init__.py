"""What `deepsic_tables.py` is made of."""
