"""TF-IDF with a linear SVM on the very split that a study uses: the figure to beat.

    python -m benchmarks.linear --data sat
    python -m benchmarks.linear --data titles.csv.gz --json linear.json

Every combination of word n-grams, class weights and C below is fitted on the train part. The best
by validation balanced accuracy is the rival, and its test figure is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from data_utils import DataSpec, PreparedData, Titles, prepare

NGRAMS = ((1, 1), (1, 2))
CLASS_WEIGHTS = (None, "balanced")
STRENGTHS = (0.1, 0.3, 1.0, 3.0)


def fit_all(prepared: PreparedData) -> list[dict[str, Any]]:
    """One row per setting, the best by validation balanced accuracy first."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import LinearSVC

    rows = []
    for ngrams in NGRAMS:
        vectorizer = TfidfVectorizer(ngram_range=ngrams, sublinear_tf=True)
        train = vectorizer.fit_transform(_texts(prepared.train))
        validation = vectorizer.transform(_texts(prepared.validation))
        test = vectorizer.transform(_texts(prepared.test))
        for class_weight in CLASS_WEIGHTS:
            for strength in STRENGTHS:
                started = time.perf_counter()
                svm = LinearSVC(C=strength, class_weight=class_weight)
                svm.fit(train, prepared.train.labels)
                rows.append(
                    {
                        "ngrams": list(ngrams),
                        "class_weight": class_weight,
                        "C": strength,
                        "validation": balanced_accuracy_score(
                            prepared.validation.labels, svm.predict(validation)
                        ),
                        "test": balanced_accuracy_score(prepared.test.labels, svm.predict(test)),
                        "seconds": time.perf_counter() - started,
                    }
                )
    return sorted(rows, key=lambda row: -float(row["validation"]))


def _texts(titles: Titles) -> list[str]:
    # The raw titles: the rival is free to use the words and numbers that our cleaning drops.
    return [titles.text(index) for index in range(len(titles))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sat", help="as for studies.py")
    parser.add_argument("--level", default=None, help="as for studies.py")
    parser.add_argument("--min-rows", type=int, default=None, help="as for studies.py")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="as for studies.py")
    parser.add_argument("--json", type=Path, default=None, help="write the figures here")
    arguments = parser.parse_args()
    spec = DataSpec(source=arguments.data, level=arguments.level, min_rows=arguments.min_rows)
    prepared = prepare(spec, arguments.out / "cache")
    rows = fit_all(prepared)
    print(f"TF-IDF + LinearSVC on {prepared.name}, balanced accuracy")
    print("n-grams  class weight      C  validation    test  seconds")
    for row in rows:
        ngrams = "-".join(map(str, row["ngrams"]))
        print(
            f"{ngrams:>7}  {row['class_weight'] or 'none':>12}  {row['C']:>5}"
            f"  {row['validation']:>10.4f}  {row['test']:.4f}  {row['seconds']:>7.1f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"data": prepared.name, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
