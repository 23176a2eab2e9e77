"""The command `deepsic`. Standard library only, so that `deepsic info` answers at once.

commands.py   the verbs and their options: start here
files.py      which files are meant, where results go
index.py      labels of many files in one
report.py     printed results and exit codes
progress.py   the bar, for the stages as well
stages.py     the stages of `pipelines` as commands
"""
