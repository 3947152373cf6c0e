"""Titles as arrays: reading, cleaning, splitting, the vocabulary and word vectors."""

from data_utils.cleaning import Cleaning, encode_titles
from data_utils.errors import DataError
from data_utils.prepared import PreparedData, Titles, open_prepared, prepare
from data_utils.spec import DataSpec
from data_utils.vocabulary import Vocabulary

__all__ = [
    "Cleaning",
    "DataError",
    "DataSpec",
    "PreparedData",
    "Titles",
    "Vocabulary",
    "encode_titles",
    "open_prepared",
    "prepare",
]
