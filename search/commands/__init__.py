"""What ``studies.py`` offers besides the search itself; each file a few commands.

Options in, one call out. Torch, Optuna and MLflow are imported within the commands: they take
seconds, and ``--help`` needs none of them.
"""
