"""Two hosts that share a folder of videos write the files that one writes."""

import shutil
import subprocess

import pytest
import tiny_runs
from cli import ROOT, command, environment, free_port, run

GIVEN = ("--config.localize.window=1.0", "--config.localize.stride=0.25", "--config.localize.threshold=0.15")


@pytest.fixture(scope="module")
def videos(tmp_path_factory, cached):
    """Five videos, one of them broken."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("train_0000", "train_0003", "val_0000", "val_0003"):
        shutil.copy(tiny_runs.videos_of_the_sample_set() / f"{name}.mp4", folder)
    (folder / "a.mp4").write_text("no video")
    return folder


def by_two(*flags, cache, logs) -> list[str]:
    """What two processes print, of one command."""
    port, processes = free_port(), []
    for index in range(2):
        place = f"--distributed=localhost:{port},2,{index}"
        with (logs / f"{index}.log").open("w") as file:
            options = dict(cwd=ROOT, env=environment(cache), stdout=file, stderr=subprocess.STDOUT)
            processes.append(subprocess.Popen(command(*flags, place), **options))
    try:
        statuses = [process.wait(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    printed = [(logs / f"{index}.log").read_text() for index in range(2)]
    assert statuses == [0, 0], "\n".join(printed)
    return printed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["detector", "recogniser"])
def test_two_hosts_write_the_files_of_one(kind, request, videos, cache, tmp_path):
    workdir = request.getfixturevalue(kind)
    flags = ["--mode=localize", f"--workdir={workdir}", f"--video={videos}", *(GIVEN if kind == "recogniser" else ())]
    run(*flags, f"--out={tmp_path / 'one'}", cache=cache)
    by_two(*flags, f"--out={tmp_path / 'two'}", cache=cache, logs=tmp_path)
    files = {}
    for out in ("one", "two"):
        found = sorted(path.relative_to(tmp_path / out) for path in (tmp_path / out).rglob("*") if path.is_file())
        files[out] = [path for path in found if path.name != "quarantine.jsonl"]
    assert files["one"] == files["two"] and len([path for path in files["one"] if path.suffix == ".srt"]) == 4
    for name in ("segments.json", "segments.csv", "features/video_info.csv", "features/val_0003.csv"):
        if (tmp_path / "one" / name).exists():
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    broken = [path.read_text() for path in (tmp_path / "two").rglob("quarantine.jsonl")]
    assert broken and all("a.mp4" in text for text in broken)
