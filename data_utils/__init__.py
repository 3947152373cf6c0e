"""Titles as arrays: reading, cleaning, splitting, the vocabulary and word vectors."""

from data_utils.cleaning import Cleaning
from data_utils.errors import DataError
from data_utils.prepared import DataSpec, PreparedData, Titles, open_prepared, prepare
from data_utils.vocabulary import Vocabulary

__all__ = [
    "Cleaning",
    "DataError",
    "DataSpec",
    "PreparedData",
    "Titles",
    "Vocabulary",
    "open_prepared",
    "prepare",
]
