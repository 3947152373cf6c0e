"""Optuna studies that many workers carry on together."""
