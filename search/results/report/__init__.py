"""A study as one page that can be mailed: what it found, how sure that is, what it cost."""
