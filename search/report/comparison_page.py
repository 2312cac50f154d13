"""The comparison of two runs as one page that opens from disk without a network."""

from __future__ import annotations

from pathlib import Path

from search.analysis.compare import Comparison
from search.errors import UserError
from search.files import write_atomically
from search.report.pictures import compared_curves
from search.report.rendering import render


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Writes the page atomically. UserError if the file cannot be written."""
    try:
        write_atomically(path, comparison_page(comparison))
    except OSError as error:
        raise UserError(f"--page {path} cannot be written ({error.strerror}). Give another file.") from None


def comparison_page(comparison: Comparison) -> str:
    """The whole page."""
    picture = compared_curves.picture(comparison)
    pictures = [] if picture is None else [picture]
    return render("comparison.html.j2", pictures, {}, comparison=comparison, pictures=pictures, reload_s=None)
