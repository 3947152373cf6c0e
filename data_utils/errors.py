"""The error that users of the data preparation see."""


class DataError(Exception):
    """Data cannot be read, prepared or opened; the message is one line that says what to do."""
