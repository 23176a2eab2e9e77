"""The command `deepsic`. Standard library only, so that `deepsic info` answers at once.

commands.py   the verbs and their options: start here
files.py      which files are meant, where results go
report.py     printed results, progress and exit codes
stages.py     the stages of `pipelines` as commands
"""
