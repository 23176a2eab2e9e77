"""Training with nothing but torch; `pipelines/training` is a thin adapter of it to Ray Train.

Start with `trainer.py`: one step, one average, one schedule, one save, for every recipe.

recipe.py       what a run is: net, objective, stages, crops, optimiser, start
trainer.py      the net in training
run.py          the loop around it: batches, log, validation, checkpoints
objectives/     what is minimised: codecs (DeepSIC Eq. 4, TDIC, APIC, SAIC), distilled heads
data/           what is drawn: images, crops, batches
start.py, checkpoint.py, teacher.py          where weights come from, and how they are kept
validation.py, evaluator.py                  what a net is worth on images held out
"""
