"""Text from elsewhere, where it is shown."""

import csv
import io

import pytest

from data_utils.safe_text import for_cell, for_markdown, for_terminal

ESCAPE = "\x1b[31mred\x1b[0m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("silla de niño", "silla de niño"),
        (ESCAPE, " [31mred [0m"),
        ("line\nbreak\ttab\rreturn\x00\x7f", "line break tab return  "),
        ("\x9b31mred", " 31mred"),  # the one-byte form of an escape sequence
        ("exe\u202egnp.x", "exe gnp.x"),  # turns what follows around
        ("می\u200cخواهم 👩\u200d🔧", "می\u200cخواهم 👩\u200d🔧"),
        ("\ud83d", " "),
    ],
)
def test_a_terminal_gets_one_line_and_no_commands(text, shown):
    assert for_terminal(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a | b", r"a \| b"),
        ("# *x* _y_ [z](u) ~w~ `v`", r"\# \*x\* \_y\_ \[z\](u) \~w\~ \`v\`"),
        ("a\rb\nc  d", "a b c d"),
        ("AT&T &amp; &#42;", r"AT&amp;T &amp;amp; &amp;\#42;"),
        ("see https://a.b/c", "see https:&#47;&#47;a.b/c"),
        ("www.a.b", "www&#46;a.b"),
        (ESCAPE, r"\[31mred \[0m"),
    ],
)
def test_markdown_takes_it_for_text(text, shown):
    assert for_markdown(text) == shown


def test_the_markdown_of_a_text_shows_that_text():
    import html

    text = "a|b *c* <d> & _e_ #f [g] `h` https://i.j"
    shown = for_markdown(text)
    for mark in r"\`*_[]|#~":
        shown = shown.replace(f"\\{mark}", mark)
    assert html.unescape(shown) == text


FORMULAS = ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    assert for_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "silla", "-5", "+1.5e3", "- 20 %", "a=b", "'x", "1=1"])
def test_other_cells_stay_as_they_are(text):
    assert for_cell(text) == text


def test_predictions_as_csv_hold_no_formula():
    import numpy as np

    from prediction.lines import lines
    from prediction.predictor import Scored

    scored = Scored(np.array([[0]]), np.array([[0.5]], dtype=np.float32))
    row = next(csv.reader(io.StringIO(lines(["=a"], scored, ["@b"], "csv"))))
    assert row == ["'=a", "'@b", "0.5"]
    assert lines(["a\nb"], scored, [ESCAPE], "text") == " [31mred [0m\t0.5000\ta b\n"
