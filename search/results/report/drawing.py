"""Matplotlib figures as SVG that lives in a page: its colours, its font, its width.

Colours are drawn as stand-ins and become CSS variables, so that one picture suits light, dark
and print. A chart that needs the width is drawn twice, for a desk and for a phone.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

# Stand-in -> the variable of report.css.
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
BEST, COMPLETE, PRUNED, BASELINE = "#050505", "#060606", "#070707", "#080808"
LEVELS = ("#0a0a0a", "#0b0b0b", "#0c0c0c", "#0d0d0d", "#0e0e0e")
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    PAPER: "paper",
    BEST: "best",
    COMPLETE: "complete",
    PRUNED: "pruned",
    BASELINE: "baseline",
} | {level: f"level-{place}" for place, level in enumerate(LEVELS, start=1)}

WIDE, NARROW = 880, 340  # CSS pixels
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 12,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.handletextpad": 0.3,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.0,
    "figure.facecolor": "none",
}


@dataclass(frozen=True)
class Chart:
    """Inline SVG; ``narrow`` is the same chart for a phone, empty if one serves both.

    ``text`` says what the chart shows, for who cannot see it.
    """

    wide: str
    narrow: str
    text: str


def chart(
    draw: Callable[[Any, bool], None], text: str, *, height: int, narrow_height: int | None = None
) -> Chart:
    """A chart as wide as the page; ``draw`` gets the axes and whether they are the narrow ones."""
    return Chart(
        wide=_svg(draw, text, WIDE, height, is_narrow=False),
        narrow=_svg(draw, text, NARROW, narrow_height or height, is_narrow=True),
        text=text,
    )


def small_chart(draw: Callable[[Any, bool], None], text: str, *, height: int) -> Chart:
    """A chart for a grid of small ones: as wide as a phone."""
    return Chart(wide=_svg(draw, text, NARROW, height, is_narrow=True), narrow="", text=text)


def _svg(
    draw: Callable[[Any, bool], None], text: str, width: int, height: int, *, is_narrow: bool
) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # It tells of its font cache, which a read-only home has no place for.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    # One salt a picture: ids of clip paths and markers are unique in the page, and repeat.
    salt = f"{text}{width}"
    style: Any = {**_STYLE, "svg.hashsalt": salt}
    with matplotlib.rc_context(style):
        layout = ConstrainedLayoutEngine(w_pad=2 / 72, h_pad=2 / 72)
        figure = Figure(figsize=(width / 72, height / 72), layout=layout)
        draw(figure.add_subplot(), is_narrow)
        output = StringIO()
        # Not savefig, which draws everything twice, the first time to measure it.
        FigureCanvasSVG(figure).print_svg(output, metadata={"Date": None})
    return _for_page(output.getvalue(), text)


def _for_page(svg: str, text: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", svg, flags=re.S
    )
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: (\d+(?:\.\d+)?)px [^;\"]*", r"font-size: \1px", svg)
    # A tenth of a pixel is exact enough, and half the file.
    svg = re.sub(r'(?<= )(x|y|d)="([^"]*)"', _rounded, svg)
    svg = re.sub(r"#0[0-9a-f]{5}", lambda found: _variable(found[0]), svg)
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    head = f'<svg {view[0]} role="img" aria-label="{html.escape(text)}">'
    return re.sub(r"\s*\n\s*", " ", head + svg[svg.index(">") + 1 :])


def _rounded(attribute: re.Match[str]) -> str:
    numbers = re.sub(r"(\.\d)\d+", r"\1", attribute[2])
    return f'{attribute[1]}="{numbers}"'


def _variable(colour: str) -> str:
    return f"var(--{_VARIABLES[colour]})" if colour in _VARIABLES else colour
