"""How good a codec is: rate, distortion, what classifiers and detectors still see, BD-rate.

    compare(original, decoded)      PSNR, SSIM, MS-SSIM of two 8-bit pictures
    bd_rate(anchor, test)           average rate difference at equal quality, percent
    accuracy(...), detection(...)   what a network makes of decoded pictures
    bench.run(...)                  all of it over a folder, on this machine, without Ray

Import from the modules: this package itself imports nothing, so that the command line stays
light.
"""
