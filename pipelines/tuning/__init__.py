"""Search over SAIC's rate, weight and temperature: the parts behind `tune_saic.py`."""
