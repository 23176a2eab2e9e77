"""Search spaces of `pipelines/tune_saic.py`: plain Python with Ray Tune's own distributions.

A space is a module with a function `space()` that gives a dictionary of distributions over

    bpp   target rate, bits a pixel
    lam   weight of the semantic distortion beside the pixels' (lambda of the objective)
    tau   temperature of the semantic weights (SAIC Eq. 4)
    lr, pixel, layer   optional, in place of the options of that name

    small          what is searched when nothing is said
    saic           the paper's ranges: rate, lambda, tau
    fine           around a good point: lambda, learning rate, the pixels' weight
    layers         which maps to compare
    tau_sweep      Figure 4: tau alone, on a grid
    lambda_grid    what lambda costs and gives at three rates, on a grid

`bpp` is a number, a `tune.choice` or a `tune.grid_search`: trials of equal rate are compared. A key
that nothing reads is an error. Give your own file with `--space path/to/space.py`.
"""
