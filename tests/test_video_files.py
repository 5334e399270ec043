"""Names of videos as file names: in their folder, apart from each other, and plain names as they are."""

import os
import pathlib
import random
import unicodedata

import pytest

from actjax.paths import replace
from actjax.tables import write_table
from actjax.video_files import file_stem, file_stems, found_file

NASTY = [
    "", ".", "..", "...", "/", "//", "a/b", "a/b.mp4", "a//b", "./a", "a/.", "a/..", "../a", "../../etc/passwd",
    "/data/v", "/data/v.mp4", "C:\\x", "C:x", "\\\\server\\share\\v", "a\\b", "~", "~root", "~/x", "a b", " a",
    "a ", "a.", "a. ", ".a", ".hidden", "-a", "--rf", "a\nb", "a\tb", "a\x00b", "\x1b[31ma", "a\x7f", "\u202egpj.a",
    "con", "CON.x", "Nul", "com1", "lpt9.csv", "a:b", "a*", "a?", '"a"', "<a>", "a|b", "é", "e\u0301", "É", "ß", "ss",
    "SS", "ſ", "s", "İ", "i\u0307", "🏃" * 60, "x" * 200, "x" * 201, "x" * 255, "x" * 5000, "é" * 101, "v_aB",
    "v_Ab", "v_AB", "a_b", "stage", "[/x]", "[bold]c", "$\\alpha$", "<script>", "%2e%2e", "gs://bucket/a",
    "file:///etc/passwd", "\udcff", "\ud800", "a\u2028b", "\ufeffa", "a" + "/b" * 400, "a" + "/b" * 4000,
    "a~0123456789abcdef",
]  # fmt: skip
PLAIN = [
    "v_--0edUL8zmA",
    "--0edUL8zmA",
    "video_test_0000004",
    "v1.0_run",
    "a b",
    "x" * 200,
    "vidéo",
    "#437_(1)_ride & fall",
]
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(10))}
LONGEST_SUFFIX = ".json.gz"


def random_names(count: int) -> list[str]:
    letters = "aAbB01._- /\\:~éE\u0301ß\n\x1b\x00\ud800漢🏃"
    draw = random.Random(0)
    return ["".join(draw.choices(letters, k=draw.choice((1, 2, 3, 8, 300)))) for _ in range(count)]


def test_every_name_is_one_file_of_its_own():
    names = list(dict.fromkeys([*NASTY, *PLAIN, *random_names(2000)]))
    names += [
        stem for stem in file_stems(names).values() if stem not in names
    ]  # nobody takes another's file on purpose
    stems = file_stems(names)
    assert list(stems) == names and file_stems(names) == stems == file_stems(reversed(names))
    kept = {unicodedata.normalize("NFKD", stem).casefold() for stem in stems.values()}
    assert len(kept) == len(names)
    for stem in stems.values():
        file = f"{stem}{LONGEST_SUFFIX}"
        assert (
            pathlib.Path("/folder", file).parent == pathlib.Path("/folder")
            and pathlib.PureWindowsPath(file).name == file
        )
        assert os.path.normpath(file) == file and file.split(".")[0].strip().lower() not in DEVICES
        assert len(f".{file}.4194304".encode()) <= 255 and file.isprintable() and file[0] not in ". "


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_stays(name):
    assert file_stem(name) == name and file_stem(file_stem(name)) == name
    assert file_stems([name, "other"])[name] == name


def test_files_are_written_and_found(tmp_path):
    """Whatever the names, on a real disk, by both ways of writing; also by a reader who knows one name alone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    stems = file_stems(NASTY)
    for k, (name, stem) in enumerate(stems.items()):
        assert not found_file(folder, name, ".npz", ".csv").exists()
        replace(folder / f"{stem}.npz", lambda file, k=k: file.write(b"%d" % k))
        write_table(folder / f"{stem}.csv", "number", [[k]])
    for k, name in enumerate(stems):
        assert found_file(folder, name, ".npz").read_bytes() == b"%d" % k
        assert found_file(folder, name, ".npy", ".csv").read_text() == f"number\n{k}\n"
    assert len(list(folder.rglob("*"))) == 2 * len(NASTY) and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["a/b", "a/../b", " a", "a.", ".a", "e\u0301", "v_aB", "x" * 240])
def test_files_of_older_versions_are_found(tmp_path, name):
    old = tmp_path / f"{name}.npz"
    (tmp_path / "a").mkdir()
    old.write_bytes(b"old")
    assert found_file(tmp_path, name, ".npz").samefile(old)
    new = tmp_path / f"{file_stems([name, name.swapcase()])[name]}.npz"
    new.write_bytes(b"new")
    assert found_file(tmp_path, name, ".npz") == new


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "{outside}/secret"])
def test_nothing_outside_of_the_folder_is_found(tmp_path, name):
    (tmp_path / "secret.csv").write_text("x")
    (tmp_path / "folder" / "a").mkdir(parents=True)
    found = found_file(tmp_path / "folder", name.format(outside=tmp_path), ".csv")
    assert found.parent == tmp_path / "folder" and not found.exists()
