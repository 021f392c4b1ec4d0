"""Tables as text: Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}
ABSENT = "-"
"""What stands in a cell without a value."""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    """How many columns, from the left, hold words; the others hold numbers."""
    notes: Sequence[str] = ()
    """Sentences below the table."""


def markdown(table: Table) -> str:
    """As GitHub shows it."""
    rule = "|---" * len(table.header) + "|"
    lines = [_markdown_line(table.header), rule, *map(_markdown_line, table.rows)]
    return "\n".join([*lines, *(f"\n{note}" for note in table.notes)])


def latex(table: Table) -> str:
    """A `tabular` for the package booktabs; notes stand above it as comments."""
    columns = "l" * table.texts + "r" * (len(table.header) - table.texts)
    return "\n".join(
        [
            "% \\usepackage{booktabs}",
            *(f"% {note}" for note in table.notes),
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            _latex_line(table.header),
            "\\midrule",
            *map(_latex_line, table.rows),
            "\\bottomrule",
            "\\end{tabular}",
        ]
    )


def comma_separated(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A title line and a line per row; None becomes nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _markdown_line(cells: Sequence[str]) -> str:
    shown = (cell.replace("|", "\\|") for cell in cells)
    return "|" + "|".join(f" {cell} " if cell else " " for cell in shown) + "|"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(sign, sign) for sign in cell) for cell in cells) + r" \\"
