"""What training minimises. A config is a frozen dataclass of a recipe; `build` gives what computes.

joint.py          R + lambda_1 D + lambda_2 L_sem (DeepSIC Eq. 4), D any mix of pixels, maps (APIC),
                  semantic weights (SAIC) and a network's predictions: all codecs
distillation.py   a semantic head over a frozen codec learns a classifier's maps and predictions
terms.py          the common parts: what a step reports, qualities drawn, L_sem
"""
