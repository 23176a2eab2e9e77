"""Measures of decoded images, each from arrays to numbers.

distortion.py, structure.py   PSNR, SSIM, MS-SSIM
rate.py, bdrate.py            bits per pixel of whole files, BD-rate between two codecs
accuracy.py, detection.py     what classifiers and detectors still get right
semantic_information.py       semantic mutual information (SAIC Eq. 11)
"""
