"""The error that users of the data preparation see, and how it shows what a file holds."""

from data_utils.safe_text import for_terminal


class DataError(Exception):
    """Data cannot be read, prepared or opened; the message is one line that says what to do."""


def one_line(message: object) -> str:
    """Text from a file or a library as a part of one line, cut at 500 characters."""
    return for_terminal(str(message)).strip()[:500]
