"""Tables and lines on the terminal, or in the notebook, with all text shown literally.

Names of files and classes may look like rich's markup, such as "[bold]" or "[/indoor]", or hold what a terminal obeys.
"""

import rich
import rich.table
from rich.text import Text

from actjax.literal import literal


class Table(rich.table.Table):
    """A table of rich whose cells are literal text; long ones are wrapped, not cut.

    >>> table = Table("class", "videos")
    >>> table.add_row("[bold]jump", "3")
    >>> show(table)  # doctest: +SKIP
    """

    def __init__(self, *columns: str, title: str | None = None, **options):
        super().__init__(*(rich.table.Column(_cell(name), overflow="fold") for name in columns), **options)
        self.title = title and Text(literal(title, lines=False), style="table.title")

    def add_row(self, *cells: str | Text, **options) -> None:
        """Adds a row; a `Text` keeps its style."""
        super().add_row(*(_cell(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def _cell(text: str) -> Text:
    return Text(literal(text, lines=False))


def show(what: str | Table) -> None:
    """Prints a table, or a line that is not wrapped, so that a path can be copied."""
    if isinstance(what, str):
        rich.get_console().print(literal(what), markup=False, highlight=False, emoji=False, soft_wrap=True)
    else:
        rich.get_console().print(what)
