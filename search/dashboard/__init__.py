"""What optuna-dashboard shows besides the trials: notes, and files of the best trials."""
