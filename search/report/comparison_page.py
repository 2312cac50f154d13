"""The comparison of two runs as one page that opens from disk without a network."""

from __future__ import annotations

from pathlib import Path

from search.errors import UserError
from search.files import write_atomically
from search.report.comparison import Comparison, Section
from search.report.html import Html, element, joined, json_data, picture, table
from search.report.page import page_head, page_scripts
from search.report.plot_style import Figure, base_layout, safe_text


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the page, whole or not at all; UserError where it cannot be written."""
    try:
        write_atomically(path, comparison_page(comparison))
    except OSError as error:
        raise UserError(f"--page {path} cannot be written ({error.strerror}). Give another file.") from None


def comparison_page(comparison: Comparison) -> Html:
    """The whole page."""
    first, second = comparison.names
    header = element(
        "header",
        element(
            "div", element("span", "convladder runs ", element("strong", first), " and ", element("strong", second)),
            class_="run",
        ),
        element("h1", comparison.verdict.replace(" %", "\u00a0%")),
    )  # fmt: skip
    sections = [_section(section, comparison.names) for section in comparison.sections]
    main = element("main", *sections[:1], _curves(comparison), *sections[1:])
    body = element("body", header, main, json_data("trial-labels", {}), page_scripts())
    return Html(f'<!doctype html>\n<html lang="en">{page_head(f"{first} and {second}")}{body}</html>\n')


def _section(section: Section, names: tuple[str, str]) -> Html:
    parts = [element("h2", section.title[0].upper() + section.title[1:])]
    if section.rows:
        rows = [[row.name, *(_marked(value, row.differs) for value in row.values)] for row in section.rows]
        parts.append(table(["", *names], rows))
    if section.same:
        parts.append(element("p", f"{section.same} more are the same in both." if section.rows else "No difference."))
    return element("section", *parts)


def _marked(value: str, differs: bool) -> Html:
    return element("b" if differs else "span", value)


def _curves(comparison: Comparison) -> Html:
    if None in comparison.curves:
        return Html("")
    words = (
        "The best validation accuracy of each search against the epochs that its trials had trained by then. The two "
        "compare only where both searches validate on the same images."
    )
    return joined([picture("both", "Best so far", words, both_curves(comparison), height=340)])


def both_curves(comparison: Comparison) -> Figure:
    """Best validation accuracy of both runs against epochs trained."""
    traces = [
        {
            "type": "scatter", "mode": "lines", "x": curve.costs, "y": curve.best, "name": safe_text(name),
            "line": {"color": colour, "width": 2.5, "shape": "hv"},
        }
        for name, curve, colour in zip(comparison.names, comparison.curves, ("--completed", "--winner"), strict=True)
        if curve is not None
    ]  # fmt: skip
    layout = base_layout("epochs trained in all trials", "best accuracy so far")
    layout["yaxis"]["tickformat"] = "~%"
    return {"data": traces, "layout": layout}
