"""The files of tracking events where the disk has no room."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from search.tracking import spool

STUDY: dict[str, Any] = {
    "event": "study",
    "study_name": "s",
    "study_key": "s",
    "experiment": "e",
    "params": {},
    "tags": {},
    "time": 1,
}


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """No file can grow beyond so many bytes: the last write may be cut short, the next fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def events_in(path: Path) -> list[spool.Event]:
    return [event for event, _ in spool.read_events(path, 0) if event is not None]


@pytest.mark.parametrize("num_bytes", [0, 10])
def test_a_journal_has_the_studys_event_or_is_not_there(tmp_path, num_bytes):
    with room_for(num_bytes), pytest.raises(OSError, match=r"too large|only a part"):
        spool.Journal(tmp_path, STUDY)
    assert list(tmp_path.iterdir()) == []
    journal = spool.Journal(tmp_path, STUDY)
    assert events_in(journal.path) == [STUDY]
    journal.close()


def test_events_that_are_torn_take_no_other_with_them(tmp_path):
    journal = spool.Journal(tmp_path, STUDY)
    events = [{"event": "evaluated", "step": step} for step in range(4)]
    with room_for(journal.size + 5):
        for event in events[:2]:  # the first is cut short, the second finds no room at all
            with pytest.raises(OSError, match=r"too large|only a part"):
                journal.append(event)
    for event in events[2:]:
        journal.append(event)
    assert events_in(journal.path) == [STUDY, *events[2:]]
    assert journal.size == journal.path.stat().st_size
    journal.close()


def test_a_study_is_known_by_any_file_that_begins_with_its_event(tmp_path):
    torn, other = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    torn.write_text('{"event": "stu\n{"event": "started"}\n')
    assert spool.study_of([torn]) is None
    other.write_text('{"event": "study", "study_name": "s"}\n')  # what it needs is not in it
    assert spool.study_of([torn, other, tmp_path / "gone.jsonl"]) is None
    journal = spool.Journal(tmp_path, STUDY)
    assert spool.study_of([torn, other, journal.path]) == STUDY
    journal.close()


def test_what_is_put_off_is_kept_until_it_is_sent(tmp_path):
    assert spool.read_later(tmp_path) == []
    spool.put_off(tmp_path, {"event": "text", "text": "ñ\n"})
    spool.put_off(tmp_path, {"event": "artifact"})
    assert spool.read_later(tmp_path) == [{"event": "text", "text": "ñ\n"}, {"event": "artifact"}]
    assert spool.journals(tmp_path) == []
    spool.write_later(tmp_path, [])
    assert list(tmp_path.iterdir()) == []
