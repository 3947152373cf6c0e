"""Optuna studies that many workers carry on together."""

__version__ = "0.1.0"
