"""The stages that run on Ray: one file each, a command with `--help`.

A stage's parts are in the folder of its subject (`archive/`, `training/`, `serving/`); what every
stage shares is in `stage/`, object stores in `storage/`. Stages never import each other.
"""
