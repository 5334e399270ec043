"""Names that look like rich's markup are shown as they are, and what a terminal obeys is written out."""

import logging
import types

import numpy as np
import pytest
import rich
from rich.jupyter import _render_segments
from rich.text import Text

from actjax import workdir
from actjax.literal import literal
from actjax.showing import Table, show
from actjax.tasks.recognition import browsing

NAMES = ("[bold]jump", "[/indoor]", ":smile:", "[link=x]y[/link]", "[/x]", "<script>", r"$\alpha$", "&amp;")
COMMANDS = ("\x1b[31mred", "\x9b2J", "two\nlines", "back\rwards", "\u202egpj", "\udcff")
SHOWN = (r"\x1b[31mred", r"\x9b2J", r"two\nlines", r"back\rwards", r"\u202egpj", r"\udcff")


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


def test_what_a_terminal_obeys_is_written_out(capsys):
    table = Table("class", COMMANDS[0], title="[/x]\x1b[2J")
    for name in COMMANDS:
        table.add_row(name)
    show(table)
    lines = capsys.readouterr().out
    assert all(shown in lines for shown in SHOWN) and r"[/x]\x1b[2J" in lines and not {"\x1b", "\r"} & set(lines)
    show(f"file {COMMANDS[0]}\nanother")
    assert capsys.readouterr().out == f"file {SHOWN[0]}\nanother\n"
    assert [literal(name, lines=False) for name in COMMANDS] == [*SHOWN]
    assert literal("vidéo 漢字\t👩‍🚀\n") == "vidéo 漢字\t👩‍🚀\n"


@pytest.mark.parametrize("live", [False, True])
def test_the_log_writes_out_what_a_terminal_obeys(monkeypatch, capsys, tmp_path, live):
    console = rich.console.Console(force_terminal=live, color_system=None, width=120)
    monkeypatch.setattr(rich, "_console", console)
    with workdir.logging_to(tmp_path / "train.log"):
        logging.getLogger("actjax").warning("cannot decode %s", COMMANDS[0] + COMMANDS[3])
    for text in (capsys.readouterr().out, (tmp_path / "train.log").read_text()):
        assert f"cannot decode {SHOWN[0]}{SHOWN[3]}" in text and not {"\x1b", "\r"} & set(text)


def test_the_progress_bar_is_literal(monkeypatch, capsys):
    console = rich.console.Console(force_terminal=True, color_system=None, width=120)
    monkeypatch.setattr(rich, "_console", console)
    assert list(workdir.progress([1], 1, "prepare [/x]\x1b[2J")) == [1]
    assert r"prepare [/x]\x1b[2J" in capsys.readouterr().out


def test_a_notebook_shows_names_and_runs_none(monkeypatch):
    shown = []
    console = rich.console.Console(force_jupyter=True, width=80)
    monkeypatch.setattr(rich, "_console", console)
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: shown.extend(_render_segments(segments)))
    table = Table("class")
    for name in NAMES:
        table.add_row(name)
    show(table)
    html = "".join(shown)
    assert "<script>" not in html and "&lt;script&gt;" in html and "[/x]" in html and "&amp;amp;" in html


def test_classes_of_any_name_are_saved_and_read_again(tmp_path, capsys):
    names = ["[/x]", "two\nlines", "a\x85b\u2028c", "=1+1", '"', "\udcff"]
    matrix = np.arange(36).reshape(6, 6)
    workdir.save_results(tmp_path, "results", {"top1_acc": 0.5, "confusion_matrix": matrix}, names)
    assert workdir.saved_results(tmp_path, "results") == {"top1_acc": 0.5, "confusion_matrix": matrix.tolist()}
    assert "top1_acc" in capsys.readouterr().out


def test_a_contact_sheet_has_any_name():
    clips = types.SimpleNamespace(clip_shape=(1, 2, 8, 8, 3))
    for name in (*NAMES, *COMMANDS, "\ud800", "\x00"):
        assert browsing._row([name], None, clips).shape == (browsing.LINE, 2 * (8 + browsing.MARGIN), 3)
