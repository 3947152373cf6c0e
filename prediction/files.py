"""What stands where in an exported folder. Plain text and safetensors: nothing is unpickled."""

from __future__ import annotations

#: Raise it when a folder written before could be misread.
FORMAT = 1

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
VOCABULARY = "vocabulary.txt"
LABELS = "labels.json"
STOP_WORDS = "stop_words.txt"
#: What a prediction reads.
NEEDED = (CONFIG, WEIGHTS, VOCABULARY, LABELS, STOP_WORDS)

#: The word vectors' name among the weights.
EMBEDDING = "embedding"
