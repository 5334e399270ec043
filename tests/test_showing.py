"""Names that look like rich's markup are shown as they are."""

import logging

import rich
from rich.text import Text

from actjax import workdir
from actjax.showing import Table, show

NAMES = ("[bold]jump", "[/indoor]", ":smile:", "[link=x]y[/link]")


def test_names_are_shown_literally(capsys):
    table = Table("class", "[red]videos", title="results")
    for name in NAMES:
        table.add_row(name, Text("cannot be decoded", style="red"))
        show(f"file         runs/{name}")
    show(table)
    shown = capsys.readouterr().out
    assert all(shown.count(name) == 2 for name in NAMES) and "[red]videos" in shown


def test_a_path_is_one_line(capsys):
    show("results      " + 50 * "folder/")
    assert capsys.readouterr().out.count("\n") == 1


def test_the_log_is_literal_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(rich, "_console", rich.console.Console(force_terminal=True, color_system=None, width=120))
    with workdir.logging_to(None):
        logging.getLogger("actjax").warning("%s: %s", *NAMES[:2])
    assert "[bold]jump: [/indoor]" in capsys.readouterr().out
