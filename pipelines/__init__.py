"""The stages that run on Ray: one file each, a command with `--help`.

Stages import `deepsic` and the shared modules here (`runtime`, `console`, `tracking`, `storage`,
`manifest`); never each other.
"""
