"""HTML from Python calls: whatever is not marked as `Html` is escaped, so no name can become markup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from search.report.plot_style import Figure

_VOID_TAGS = frozenset({"img", "meta", "link"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Html:
    """An element around its children; `class_` stands for class and `aria_label` for aria-label."""
    spelled = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{spelled}>" if tag in _VOID_TAGS else f"<{tag}{spelled}>{joined(children)}</{tag}>")


def joined(parts: Iterable[str]) -> Html:
    """Parts in a row, each escaped unless it is markup."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()) -> Html:
    """A table that scrolls sideways where the page is narrow; columns in `numeric` are set flush right."""

    def cells(tag: str, values: Sequence[str]) -> Html:
        return joined(
            element(tag, value, class_="number") if column in numeric else element(tag, value)
            for column, value in enumerate(values)
        )

    head = element("thead", element("tr", cells("th", headings)))
    body = element("tbody", *(element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="scroll", tabindex="0")


def picture(name: str, title: str, words: str, figure: Figure, *, height: int) -> Html:
    """A plotly figure with its title and a sentence on how to read it; the page's script draws it."""
    drawing = element("div", class_="plot", id=f"plot-{name}", style=f"height:{height}px", role="img", aria_label=words)
    return element(
        "figure", element("figcaption", element("h3", title), element("p", words)), drawing, json_data(name, figure)
    )


def json_data(name: str, values: Any) -> Html:
    """Values for the page's script, in an element that the browser leaves alone."""
    # "<" could end the element; in JSON it may be written as an escape.
    text = json.dumps(values, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="data-{escape(name)}">{text}</script>')
