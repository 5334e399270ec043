"""What the command line says about itself: a page for `actjax` without arguments, and one for `--help`."""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence

MODES = {
    "train": "train, evaluate and save; resumes a killed run (the default)",
    "eval": "evaluate a run's checkpoint on the validation set",
    "predict": "classify --video, a file or a folder of files",
    "localize": "find when actions happen in --video, a file or a folder of files",
    "extract": "write features of whole videos to --out",
    "import": "turn --from, a checkpoint of another program, into a run",
    "export": "write a run's checkpoint to --out, for other programs",
    "check": "decode every video and list the broken ones",
    "quarantine": "list the files that a run could not decode; --clear forgets them",
    "prepare": "decode all videos once and store their frames in --out",
    "browse": "draw training clips as the network sees them",
    "explain": "print the config, and what a training step costs",
}

_CALL = """\
actjax --config=RECIPE|FILE.py[:ARG] [--workdir=DIR] [--mode=MODE] [--FLAG=...]
       [--config.SECTION.KEY=VALUE ...]"""
_OVERVIEW = """\
actjax: video action recognition and temporal action localization in JAX

{call}

modes:
{modes}

to train on generated videos, to train on your own (a folder with a sub-folder
for each class), and to use the result:
  actjax --config=tsm_shapes --workdir=runs/shapes
  actjax --config=tsm_own --workdir=runs/mine --config.data.folder=FOLDER
  actjax --mode=predict --workdir=runs/mine --video=clip.mp4
  actjax --mode=localize --workdir=runs/mine --video=long.mp4

recipes:
{recipes}

`actjax --help` lists the flags; `actjax-metrics --help` tells how to score
result files. Where actjax is not installed, write `python -m actjax`.
"""
_HELP = """\
{call}

modes:
{modes}

flags:
{flags}

`actjax` alone lists the recipes; `--helpfull` also lists the flags of libraries; `--version` prints the version.
"""


def overview(recipes: Sequence[str], *, width: int = 0) -> str:
    """What `actjax` can do, in one screen. width: characters in a line; 0: those of the terminal."""
    width = width or shutil.get_terminal_size().columns
    return _OVERVIEW.format(call=_CALL, modes=_table(MODES), recipes=_columns(recipes, width=width))


def help_page(flags: Iterable) -> str:
    """The modes and the given flags of absl, in one line each."""
    lines = {f"--{flag.name}": _described(flag) for flag in flags}
    return _HELP.format(call=_CALL, modes=_table(MODES), flags=_table(lines))


def _described(flag) -> str:
    """A flag's help; its choices, unless they are the modes, and its default."""
    choices, text = re.fullmatch(r"(?:<(.*?)>: )?(.*?)\.?", " ".join(flag.help.split())).groups()
    notes = [choices] if choices and flag.name != "mode" else []
    notes += [] if flag.default is None else [f"default {flag.default}"]
    return f"{text} ({', '.join(notes)})." if notes else f"{text}."


def _table(rows: Mapping[str, str]) -> str:
    first = max(map(len, rows))
    return "\n".join(f"  {name:{first}}  {text}" for name, text in rows.items())


def _columns(names: Sequence[str], *, width: int, cell: int = 40) -> str:
    """Names from left to right, each starting at a multiple of `cell` characters."""
    lines = [""]
    for name in names:
        start = -(-(len(lines[-1]) + 1) // cell) * cell if lines[-1] else 0
        if start + len(name) > width - 2 and start:
            lines.append("")
            start = 0
        lines[-1] = lines[-1].ljust(start) + name
    return "\n".join(f"  {line}" for line in lines)
