"""Blocks over several processes."""

import time
from concurrent.futures import ThreadPoolExecutor

from data_utils import Cleaning
from data_utils.collecting import Collection
from data_utils.records import Block, Layout
from data_utils.sources import Part
from data_utils.workers import encode_blocks

HEADER = ("title", "category")


def test_threads_that_are_held_up_change_nothing(tmp_path, monkeypatch):
    """A process numbers words by their first appearance: it has to get its blocks in order."""
    layout = Layout(kind="csv", columns=(*HEADER, None, None), header=HEADER)
    part = Part(tmp_path / "t.csv", None, layout, state=[])
    lines = [f"palabra{'abcdefghij'[n % 10] * (n % 7 + 1)},C{n}\n" for n in range(40)]
    blocks = [Block(line.encode(), n, 1.0) for n, line in enumerate(lines)]
    submit, calls = ThreadPoolExecutor.submit, []

    def late(pool, function, *arguments):
        def run():
            calls.append(0)
            time.sleep(0.05 * (len(calls) % 3))
            return function(*arguments)

        return submit(pool, run)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", late)
    with Collection(tmp_path, strict=False) as rows:
        jobs = ((part, block) for block in blocks)
        for done, encoder, block, chunk in encode_blocks(
            jobs, Cleaning(), hash_rows=False, processes=2
        ):
            assert block is blocks[rows.counts.num_read]
            rows.add(done, encoder, chunk)
        assert list(rows.labels.ids) == [f"C{n}" for n in range(40)]
        assert rows.column("labels").tolist() == list(range(40))
