#!/usr/bin/env bash
# One snowballstemmer object, used by several threads, gives wrong stems.
#
# Guess: stemWord(word) is a function of its word; a stemmer made once may serve all threads.
# Seen (snowballstemmer 3.1.1 without PyStemmer): the pure Python stemmer keeps the word, and where it
# is in it, on the object. Two threads at once cut each other's words: stems of other words come
# out, and now and then an IndexError or AssertionError. With a stemmer for each thread all stems are right.
# Why it matters: a model that stems titles, served by a server with threads, answers wrongly for some
# requests under load, and never in a test with one client.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check snowballstemmer==3.1.1
cat >"$folder/check.py" <<'PYTHON'
import importlib.metadata
import sys
import threading

import snowballstemmer

THREADS, ROUNDS = 4, 300
WORDS = "zapatillas corriendo lámparas electrónicas organizadores impermeables plegables".split()
RIGHT = {word: snowballstemmer.stemmer("spanish").stemWord(word) for word in WORDS}


def count_wrong(shared):
    wrong = []

    def work():
        stemmer = shared or snowballstemmer.stemmer("spanish")
        for _ in range(ROUNDS):
            for word in WORDS:
                try:
                    if stemmer.stemWord(word) != RIGHT[word]:
                        wrong.append(word)
                except (IndexError, AssertionError):
                    wrong.append(word)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(wrong)


sys.setswitchinterval(1e-5)
print("snowballstemmer", importlib.metadata.version("snowballstemmer"))
total = THREADS * ROUNDS * len(WORDS)
one_each, one_for_all = count_wrong(None), count_wrong(snowballstemmer.stemmer("spanish"))
print(f"a stemmer for each thread: {one_each:,} of {total:,} stems wrong")
print(f"one stemmer for all:       {one_for_all:,} of {total:,} stems wrong")
assert one_each == 0 < one_for_all
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
