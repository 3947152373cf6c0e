"""Preparation the way the course does it: pandas, gensim's filters, nltk's tokenizer, JSON lines.

One process reads the whole CSV, cleans and tokenizes title by title, splits, builds a gensim
dictionary of the train part, replaces words by their ids, and writes gzipped JSON lines.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

MIN_LETTERS = 3


def prepare_course_way(csv: Path, folder: Path) -> dict[str, float]:
    """Prepare the rows of a raw CSV of the challenge; seconds of each stage."""
    import pandas
    from gensim import corpora
    from gensim.parsing import preprocessing
    from nltk.tokenize import word_tokenize
    from sklearn.model_selection import train_test_split
    from stop_words import get_stop_words

    filters = (
        str.lower,
        preprocessing.strip_tags,
        preprocessing.strip_punctuation,
        preprocessing.strip_numeric,
        preprocessing.strip_multiple_whitespaces,
    )
    stop_words = {
        word for name in ("spanish", "portuguese", "english") for word in get_stop_words(name)
    }

    def tokens(title: str) -> list[str]:
        for clean in filters:
            title = clean(title)
        # Titles are one sentence: with preserve_line no sentence model has to be downloaded.
        words = word_tokenize(title, preserve_line=True)
        return [word for word in words if len(word) >= MIN_LETTERS and word not in stop_words]

    clock = _Clock()
    rows = pandas.read_csv(csv)
    clock.lap("read")
    rows["tokenized_title"] = rows["title"].map(tokens)
    clock.lap("tokenize")
    train, rest = train_test_split(rows, test_size=0.2, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0)
    clock.lap("split")
    dictionary = corpora.Dictionary(train["tokenized_title"])
    dictionary.patch_with_special_tokens({"[PAD]": 0, "[UNK]": 1})
    clock.lap("dictionary")
    targets = {name: number for number, name in enumerate(rows["category"].unique())}
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        part = part.assign(
            data=part["tokenized_title"].map(lambda t: dictionary.doc2idx(t, 1)),
            target=part["category"].map(targets),
            split=name,
            n_labels=len(targets),
            size=len(part),
        )
        part.to_json(
            folder / f"spanish.{name}.jsonl.gz", orient="records", lines=True, force_ascii=False
        )
    clock.lap("write")
    (folder / "token_to_index.json").write_text(json.dumps(dictionary.token2id))
    return clock.laps


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._since = now - self._since, now
