"""How good a codec is, measured.

    measure.py      one image through several codecs: start here
    metrics/        rate, distortion, accuracy, BD-rate
    baselines/      the codecs: JPEG, AVIF and others, and ours, behind one interface
    evaluators.py   classifiers and detectors that look at decoded images
    summary.py      rows of single files to averages and curves
    bench.py        all of it over a folder, without Ray: `deepsic bench`
    provenance.py   command, commit and machine of a figure

Import from the modules: this package itself imports nothing, so that the command line stays light.
"""
