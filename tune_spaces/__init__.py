"""Search spaces of `pipelines/tune_saic.py`: plain Python with Ray Tune's own distributions.

A space is a module with a function `space()` that gives a dictionary of distributions over

    bpp   target rate, bits a pixel
    lam   weight of the semantic distortion beside the pixels' (lambda of the objective)
    tau   temperature of the semantic weights (SAIC Eq. 4)
    lr    learning rate (optional; the job's own if absent)

and, if it wants, with `MIX`, the mix that `lam` and `tau` are put into. Give your own file with
`--space path/to/space.py`.
"""
