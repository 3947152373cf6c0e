"""What MLflow is told, without a trial ever waiting for it."""
