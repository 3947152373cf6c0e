"""A study's database: opened, and changed in transactions that lose nothing."""
