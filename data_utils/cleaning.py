"""From a title to its tokens: what is cleaned away, and how a chunk of titles is cleaned at once.

The steps are those of the course (lower case, tags, punctuation and numbers stripped, stop words
and short tokens dropped), with Unicode normalised. A title is cut at white space and ASCII
punctuation over the whole chunk's bytes; every distinct piece is then cleaned only once, however
often it occurs.
"""

import html
import re
import string
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.entities import html5
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_utils.errors import DataError
from data_utils.hashing import PieceHasher
from data_utils.stop_words import stop_words
from data_utils.vocabulary import Vocabulary

# A letter that is not known to be a tag's name leaves "precio < 100" alone.
_TAG = re.compile(r"</?[a-zA-Z!][^<>\n]*>")
# With their semicolon alone: "R&region" is no registered trademark.
_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][\da-fA-F]{1,6}|[a-zA-Z][a-zA-Z\d]{1,31});")
# Version 1: combining marks of Latin, Greek and Cyrillic belong to the letter before them.
_NO_WORD = re.compile(r"[^\w\u0300-\u036f]|_|(?<![\w\u0300-\u036f])[\u0300-\u036f]+")
_JOINERS = "\u200c\u200d"
_SOFT_HYPHEN = "\u00ad"
# Each letter of these stands for a sound, so that a word has several. Of Unicode's blocks up to
# Armenian's all are; others are known by the names of their characters.
_LAST_OF_ALPHABETS = "\u058f"
_ALPHABETS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "COPTIC")
_DIGITS = re.compile(r"\d+")
_SEPARATOR = 1  # this byte; in the texts themselves it becomes a space
_MAX_CACHED_PIECES = 2_000_000
_SEGMENT_BYTES = 1 << 17
_SLOT_BITS = 18


CURRENT_VERSION = 2


@dataclass(frozen=True)
class Cleaning:
    """Which cleaning steps are on; all of them are, unless switched off.

    ``normalize``: Unicode NFKC. ``tags``: HTML tags become spaces, and entities the characters
    that they stand for. ``numbers``: digits are deleted, also within a word, as in the course.
    ``stop_words``: the languages whose stop words are dropped, all of them from every title;
    ``()`` keeps them. ``min_letters``: tokens of an alphabet with fewer letters are dropped; words
    of other scripts, of which one or two characters may be a whole word, are kept.

    ``version``: what is made with a version is read with it, to the byte. 1 knew the marks of
    Latin, Greek and Cyrillic alone, counted the characters of all scripts, and left entities.

    Raises DataError for a version that this program does not know.
    """

    normalize: bool = True
    lower: bool = True
    tags: bool = True
    punctuation: bool = True
    numbers: bool = True
    stop_words: tuple[str, ...] = ("spanish", "portuguese", "english")
    min_letters: int = 3
    version: int = CURRENT_VERSION

    def __post_init__(self) -> None:
        if self.version not in (1, CURRENT_VERSION):
            raise DataError(
                f"cleaning of version {self.version} is not known: it was made by a later version "
                "of this program, use that one"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Cleaning":
        """The reverse of ``dataclasses.asdict``, also through JSON, and of what had no version."""
        stored = {"version": 1, **values, "stop_words": tuple(values["stop_words"])}
        return cls(**stored)


def clean(title: str, cleaning: Cleaning) -> list[str]:
    """The tokens of one title.

    >>> clean("<b>Zapatillas</b> Nº 42 para CORRER", Cleaning())
    ['zapatillas', 'correr']
    """
    encoder = TitleEncoder(cleaning)
    token_ids, _ = encoder.encode([title])
    return [encoder.tokens[index] for index in token_ids.tolist()]


def encode_titles(
    texts: Sequence[str], vocabulary: Vocabulary, cleaning: Cleaning
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Token ids (T,) of the titles, and the offsets (N + 1,) at which each title begins.

    Text i has the ids ``token_ids[offsets[i]:offsets[i + 1]]``, none if nothing is left of it.
    """
    encoder = TitleEncoder(cleaning)
    token_ids, offsets = encoder.encode(texts)
    known = vocabulary.encode(encoder.tokens)
    return known[token_ids], offsets


class TitleEncoder:
    """Cleans titles and numbers the tokens by first appearance; it remembers what it has seen.

    ``dropped`` are the stop words, where they are known already: those of the installed package
    may be others than those of the day a model was trained.
    """

    def __init__(self, cleaning: Cleaning, *, dropped: frozenset[str] | None = None) -> None:
        self.tokens: list[str] = []
        self._token_ids: dict[str, int] = {}
        self._cleaning = cleaning
        self._stop_words = stop_words(cleaning.stop_words) if dropped is None else dropped
        self._table, self._deleted = _byte_table(cleaning)
        self._hasher = PieceHasher()
        self._forget_pieces()

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Ids into ``tokens`` (T,) of all texts in a row, and offsets (N + 1,)."""
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        if not texts:
            return np.zeros(0, dtype=np.int32), offsets
        if len(self._pieces) > _MAX_CACHED_PIECES:
            self._forget_pieces()
        data = self._translate(texts)
        starts, piece_ids = self._find_pieces(data)
        counts = np.frombuffer(self._piece_counts, dtype=np.int64)[piece_ids]
        ends = counts.cumsum()
        text_ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _SEPARATOR)
        num_pieces = np.searchsorted(starts, text_ends)  # up to the end of each text
        offsets[1:] = np.concatenate(([0], ends))[num_pieces]
        first = np.frombuffer(self._piece_starts, dtype=np.int64)[piece_ids]
        positions = np.repeat(first - ends + counts, counts)
        positions += np.arange(len(positions))
        if not len(positions):
            return np.zeros(0, dtype=np.int32), offsets
        return np.frombuffer(self._piece_tokens, dtype=np.int32)[positions], offsets

    def _translate(self, texts: Sequence[str]) -> bytes:
        """The texts' bytes, a space for each that ends a piece, a separator after each text."""
        text = "\n".join(texts) + "\n"
        if text.count("\n") != len(texts):  # some hold line breaks themselves
            text = "\n".join([text.replace("\n", " ") for text in texts]) + "\n"
        if self._cleaning.tags:
            if self._cleaning.version > 1 and "&" in text:
                text = _ENTITY.sub(_character_of, text)
            if "<" in text:
                text = _TAG.sub(" ", text)
        # Half of a surrogate pair, as a broken JSON escape leaves it, becomes "?".
        return text.encode("utf-8", "replace").translate(self._table, self._deleted)

    def _find_pieces(self, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the pieces of the data start (P,) and their numbers (P,), segment by segment."""
        starts, piece_ids = [], []
        begin = 0
        while begin < len(data):
            # A segment fits the processor's cache and ends where a text does.
            end = data.find(_SEPARATOR, begin + _SEGMENT_BYTES) + 1 or len(data)
            segment = data[begin:end]
            characters = np.frombuffer(segment, dtype=np.uint8)
            is_gap = characters <= ord(" ")
            edges = np.flatnonzero(is_gap[1:] != is_gap[:-1]) + 1
            if not is_gap[0]:
                edges = np.concatenate(([0], edges))
            hashes = self._hasher.hash(characters, edges[0::2], edges[1::2])
            piece_ids.append(self._number(segment, edges, hashes))
            starts.append(edges[0::2] + begin)
            begin = end
        return np.concatenate(starts), np.concatenate(piece_ids)

    def _number(
        self, segment: bytes, edges: NDArray[np.int64], hashes: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """The numbers of the pieces; the quick table holds one of those that share a slot."""
        slots = hashes >> np.uint64(64 - _SLOT_BITS)
        numbers = self._slot_numbers[slots]
        missed = np.flatnonzero(self._slot_hashes[slots] != hashes)
        if len(missed):
            new, first, inverse = np.unique(hashes[missed], return_index=True, return_inverse=True)
            places = missed[first]
            bounds = zip(edges[2 * places].tolist(), edges[2 * places + 1].tolist(), strict=True)
            found = [
                self._pieces[key] if key in self._pieces else self._add_piece(key, segment[a:b])
                for key, (a, b) in zip(new.tolist(), bounds, strict=True)
            ]
            new_numbers = np.array(found, dtype=np.int64)
            numbers[missed] = new_numbers[inverse]
            # One winner where two share a slot: the hash tells which.
            self._slot_hashes[slots[places]] = new
            is_winner = self._slot_hashes[slots[places]] == new
            self._slot_numbers[slots[places][is_winner]] = new_numbers[is_winner]
        return numbers

    def _forget_pieces(self) -> None:
        # Piece i stands for the tokens _piece_tokens[start:start + count].
        self._piece_starts = array("q")
        self._piece_counts = array("q")
        self._piece_tokens = array("i")
        self._pieces: dict[int, int] = {}  # hash to number
        self._slot_hashes = np.zeros(1 << _SLOT_BITS, dtype=np.uint64)
        self._slot_numbers = np.zeros(1 << _SLOT_BITS, dtype=np.int64)

    def _add_piece(self, key: int, piece: bytes) -> int:
        number = self._pieces[key] = len(self._piece_counts)
        self._piece_starts.append(len(self._piece_tokens))
        tokens = self._tokens_of(piece.decode())
        self._piece_counts.append(len(tokens))
        for token in tokens:
            index = self._token_ids.setdefault(token, len(self.tokens))
            if index == len(self.tokens):
                self.tokens.append(token)
            self._piece_tokens.append(index)
        return number

    def _tokens_of(self, piece: str) -> list[str]:
        """Clean a piece: none, one or (cut at other than ASCII punctuation) several tokens."""
        cleaning = self._cleaning
        if not piece.isascii():  # the byte table has done all else to ASCII
            if cleaning.normalize:
                piece = unicodedata.normalize("NFKC", piece)
            if cleaning.lower:
                piece = piece.lower()
            if cleaning.punctuation:
                piece = _NO_WORD.sub(" ", piece) if cleaning.version == 1 else _words_of(piece)
            if cleaning.numbers:
                piece = _DIGITS.sub("", piece)
        return [
            token
            for token in piece.split()
            if self._is_long(token) and token.lower() not in self._stop_words
        ]

    def _is_long(self, token: str) -> bool:
        least = self._cleaning.min_letters
        if self._cleaning.version == 1 or token.isascii():
            return len(token) >= least
        letters = [character for character in token if not _is_extending(character)]
        return len(letters) >= least or any(map(_is_of_no_alphabet, letters))


class _Words(dict[int, str]):
    """For ``str.translate``: what cannot stand in a word becomes a space, looked up once each."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_part = character.isalnum() or _is_extending(character)
        self[code] = character if is_part else " "
        return self[code]


_WORDS = _Words({ord(_SOFT_HYPHEN): ""})


def _words_of(piece: str) -> str:
    """The piece with spaces for all that belongs to no word.

    Marks and joiners belong to the letter before them: they neither end a word nor begin one.
    """
    words = piece.translate(_WORDS)
    if words.isalnum():
        return words
    return " ".join(_without_edges(word) for word in words.split())


def _without_edges(word: str) -> str:
    while word and _is_extending(word[0]):
        word = word[1:]
    return word.rstrip(_JOINERS)


def _is_extending(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character).startswith("M")


def _is_of_no_alphabet(character: str) -> bool:
    return (
        character > _LAST_OF_ALPHABETS
        and character.isalpha()
        and not unicodedata.name(character, "").startswith(_ALPHABETS)
    )


def _character_of(entity: re.Match[str]) -> str:
    """What stands for the entity; itself if no character has this name."""
    name = entity[1]
    characters = html.unescape(entity[0]) if name[0] == "#" else html5.get(f"{name};", entity[0])
    return characters.replace("\n", " ")  # titles are told apart by line breaks


def _byte_table(cleaning: Cleaning) -> tuple[bytes, bytes]:
    """What each ASCII byte becomes, and which are deleted; other bytes stay as they are."""
    table = bytearray(range(256))
    for byte in (*range(0x21), 0x7F):
        table[byte] = ord(" ")
    table[ord("\n")] = _SEPARATOR
    if cleaning.punctuation:
        for character in string.punctuation:
            table[ord(character)] = ord(" ")
    if cleaning.lower:
        for character in string.ascii_uppercase:
            table[ord(character)] = ord(character.lower())
    return bytes(table), string.digits.encode() if cleaning.numbers else b""
