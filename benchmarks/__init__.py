"""One command each: ``python -m benchmarks.NAME --json FILE``. Not part of the product."""
