"""Predict the categories of titles with the model in this folder.

    python predict.py "a title" "another"     titles as arguments
    python predict.py < titles.txt            or a title a line
    python predict.py --format jsonl --top 3 "a title"

Needs what requirements.txt names. The order of the output is that of the titles.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Read the command line, predict, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("titles", nargs="*", help="titles; standard input if there are none")
    parser.add_argument("--format", choices=("text", "csv", "jsonl"), default="text")
    parser.add_argument("--top", type=int, default=1, help="categories a title")
    options = parser.parse_args()
    sys.path.insert(0, str(FOLDER))
    from data_utils.errors import DataError
    from data_utils.safe_text import for_terminal

    try:
        from prediction.run import PredictOptions, run_predict

        return run_predict(
            PredictOptions(
                model=FOLDER,
                titles=tuple(options.titles),
                source=None,
                text_column=None,
                form=options.format,
                top=options.top,
                to=None,
            )
        )
    except ModuleNotFoundError as error:
        print(f"error: {error}: pip install -r {FOLDER / 'requirements.txt'}", file=sys.stderr)
        return 2
    except DataError as error:
        print(f"error: {for_terminal(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
