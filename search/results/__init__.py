"""What is made of a study once its trials have run."""
