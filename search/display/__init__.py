"""What a person or a program reads in the terminal."""
