"""Makes lists of a public set: `python -m actjax.data.lists NAME --annotations=FOLDER --videos=FOLDER`."""

import argparse
import contextlib
import pathlib
import shlex
import sys
from collections.abc import Mapping

from actjax.data.lists.formats import FORMATS, Format
from actjax.data.lists.recognition import make_lists
from actjax.data.lists.untrimmed import Sources, make_annotations
from actjax.errors import ending
from actjax.literal import literal
from actjax.paths import does_not_exist, local


def main(arguments=None) -> None:
    options = _parser().parse_args(arguments)
    try:
        lines = run(options)
    except (ValueError, TypeError, KeyError, OSError) as error:
        sys.exit(literal(ending(error)))
    with contextlib.suppress(BrokenPipeError):  # of `| head`
        for line in lines:
            print(literal(line, lines=False), flush=True)


def run(options: argparse.Namespace) -> list[str]:
    """Writes the lists -> lines about them, the last of which is the command that trains with them."""
    form, name = FORMATS[options.name], options.name
    given = {option: getattr(options, option) for option in form.options}
    published = form.published(local(options.annotations, "--annotations"), **given)
    videos, out = _folder(options.videos, "--videos"), local(options.out or f"data/{name}", "--out")
    if form.kind == "untrimmed":
        table = options.video_info and local(options.video_info, "--video_info")
        sources = Sources(videos, table, _folder(options.features, "--features"))
        lines, flags = make_annotations(published, sources, out)
    else:
        keep = dict(keep_missing=options.keep_missing) if form.kind == "videos" else {}
        lines, flags = make_lists(published, videos, out, frames=form.kind == "frames", **keep)
    classes = f"{out / 'classes.txt'}: {len(published.class_names)} classes"
    return [*published.notes, *lines, classes, "to train:", command(form, name, flags)]


def command(form: Format, name: str, flags: Mapping[str, str]) -> str:
    """The command that trains with the lists, in one line of a shell."""
    flags = [*form.flags, *(f"{key}={value}" for key, value in flags.items())]
    words = ["python", "-m", "actjax.main", f"--config={form.recipe}", f"--workdir=runs/{name}"]
    return shlex.join([*words, *(f"--config.{flag}" for flag in flags)])


def _folder(path: str | None, option: str) -> pathlib.Path | None:
    if not path:
        return None
    folder = local(path, option)
    if not folder.is_dir():
        raise FileNotFoundError(f"{option}={path} is not a folder" if folder.exists() else does_not_exist(folder))
    return folder


def _parser() -> argparse.ArgumentParser:
    wanted = "\n".join(f"  {name:12} {form.wants}" for name, form in FORMATS.items())
    parser = argparse.ArgumentParser(
        prog="python -m actjax.data.lists",
        description="Makes lists out of what the publishers of public sets ship.",
        epilog=f"sets, and the published files that they want:\n{wanted}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = parser.add_subparsers(required=True, metavar="NAME", help="a set; `NAME --help` lists its options")
    for name, form in FORMATS.items():
        sub = names.add_parser(name, description=f"{name}: {form.wants}.")
        sub.set_defaults(name=name)
        _common(sub, form)
        if "split" in form.options:
            sub.add_argument("--split", type=int, choices=(1, 2, 3), default=1, help="which published split; default 1")
        if "ambiguous" in form.options:
            sub.add_argument("--ambiguous", action="store_true", help="the rows of the files Ambiguous are a class")
    return parser


def _common(sub: argparse.ArgumentParser, form: Format) -> None:
    untrimmed = form.kind == "untrimmed"
    sub.add_argument("--annotations", required=True, metavar="PATH", help="the folder of the published files")
    sub.add_argument("--videos", required=not untrimmed, metavar="FOLDER",
                     help="the folder of the " + ("frames" if form.kind == "frames" else "videos"))  # fmt: skip
    sub.add_argument("--out", metavar="FOLDER", help="where the lists go; default data/NAME")
    if form.kind == "videos":
        sub.add_argument("--keep_missing", action="store_true", help="keep missing videos in the lists")
    if untrimmed:
        sub.add_argument("--video_info", metavar="CSV", help="a table of lengths in place of the videos: video,"
                         "numFrame,seconds,fps,rfps,subset,featureFrame; default FEATURES/video_info.csv")  # fmt: skip
        sub.add_argument("--features", metavar="FOLDER", help="the features; videos without are left out")


if __name__ == "__main__":
    main()
