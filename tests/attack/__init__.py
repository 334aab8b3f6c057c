"""The product attacked as the machines, files and networks of its users do it; what is lost is counted.

`python -m tests.attack --rounds N [--only NAME,...] [--seed S]` prints one table at its end and exits with 1 where
anything was lost. `--list true` names the attacks. docs/reliability.md has the last figures.
"""
