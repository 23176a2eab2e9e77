"""What every stage shares, and nothing about images.

options.py    options that several stages have: one name, one meaning, one help text
exits.py      errors by name become exit codes and one line on stderr
console.py    progress, lines for the person who watches, tables
runtime.py    Ray, here or on a cluster; preflight.py looks at what it needs before it waits
tracking.py   MLflow
"""
