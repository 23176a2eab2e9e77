"""What each latent's probability is taken from: the hyper-latent and all coarser levels.

context.py          the passes, coarse to fine: start here
hyper.py            the hyper-analysis
likelihood.py       bits of a symbol under a logistic density
training.py         rounding with gradients, pass by pass, and the rate
likelihood_cpu.py   the same in one compiled sweep
serial.py           networks over causal neighbours, for the hyper-latent and the lowest band
serial_tables.py    their whole numbers in files, and the kernels' arrays
serial_fit.py       their first weights
"""
