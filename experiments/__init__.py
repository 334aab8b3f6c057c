"""Measurements of the project: its speed beside the libraries a user would pick instead, studies, reproductions.

One file per question. `python -m experiments` lists them, `python -m experiments.NAME --help` explains one. What they
share is in `experiments.harness`. A new experiment is one new file: its docstring begins with the question, `DURATION`
says how long a default run takes, and `main` hands its `Config` and its `run` to `harness.command.run_experiment`.
"""
