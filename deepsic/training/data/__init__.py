"""What training draws: start with `batches.py`.

crops.py     sizes of crops, and how often each is drawn
images.py    sets of images, in memory or memory-mapped
packed.py    a set in one file, for a machine with nothing but torch
batches.py   endless batches of crops that resume exactly where they were
"""
