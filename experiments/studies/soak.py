r"""A soak: training runs on the sample set that are disturbed at random for hours, and must not show it.

    python experiments/studies/soak.py --minutes=20
    python experiments/studies/soak.py --minutes=120 --seed=1

Run A is started again and again until complete, while readers are killed and stopped, the whole process group is
suspended, the trainer gets SIGTERM, Ctrl-C and SIGKILL, and the disk of its workdir, a small tmpfs, fills (left out
where none can be mounted, which takes root). All that it reported and all arrays of its last checkpoint must equal
those of a quiet run, bit for bit. Every second time the trainer is left alive, so that growing memory would show. In
run B, video files turn bad and good again. Each begins anew, with other random numbers, until the time is over: A has
three quarters of it. Linux only.

Prints one table; the exit status is 1 if a promise was broken.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from absl import app, flags, logging
from disturbing import ENDS, Broken, Disturber
from lives import Life, rows

from actjax.data.samples.shapes import make_shapes

_MINUTES = flags.DEFINE_float("minutes", 20.0, "How long runs are disturbed, in all.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the disturbances.")
_EPOCHS = flags.DEFINE_integer("epochs", 40, "Length of a run; an epoch has 8 steps.")
_PAUSE = flags.DEFINE_float("pause", 3.0, "Mean seconds between two disturbances.")
_RUNS = flags.DEFINE_enum("runs", "ab", ["a", "b", "ab"], "Which runs to disturb.")
_FOLDER = flags.DEFINE_string("folder", None, "For what is written; default: a temporary one, removed if all is well.")

SIZES = {"num_train": 64, "num_val": 40}
TIMEOUT, SAVE_EVERY, DISK = 3.0, 3, "48m"
SHARE = {"a": 0.75, "b": 0.25}  # of the time
LATE = 900.0  # seconds that a run may take after its last disturbance
FLAT = 1.25  # memory may grow by this factor: it settles within some 200 steps, about 10 % above the first ones
WEIGHTS = {
    "a": {"reader killed": 12, "reader stopped": 8, "suspended": 6, "disk filled": 2, "SIGTERM": 1, "Ctrl-C": 1,
          "SIGKILL": 1},
    "b": {"file turned bad": 20, "reader killed": 2, "SIGTERM": 1, "SIGKILL": 1},
}  # fmt: skip


def command(workdir: pathlib.Path, videos: pathlib.Path, **more) -> list[str]:
    """The command line of a run."""
    data = {"data.folder": videos, **{f"data.{name}": number for name, number in SIZES.items()}}
    sizes = {"model.width": 8, "run.batch_size": 8}
    often = {"run.epochs": float(_EPOCHS.value), "run.log_every": 1, "run.save_every": SAVE_EVERY}
    changes = {**data, **sizes, **often, "loader.timeout": TIMEOUT, **more}
    options = [f"--config.{key}={value}" for key, value in changes.items()]
    return [sys.executable, "-m", "actjax.main", "--config=tsm_shapes", f"--workdir={workdir}", *options]


def environment(folder: pathlib.Path) -> dict[str, str]:
    """Restarted processes find what was compiled before."""
    root = pathlib.Path(__file__).parents[2]
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    ours = {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    return compiled | os.environ | ours


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[pathlib.Path | None]:
    """A disk of its own; None where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, timeout=60).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=60)


def arrays(workdir: pathlib.Path) -> list:
    """All arrays of the last checkpoint, read by Orbax alone."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(workdir.absolute() / "checkpoints") as manager:
        state = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def results(workdir: pathlib.Path) -> dict:
    return {name: x for name, x in json.loads((workdir / "results.json").read_bytes()).items() if name != "seconds"}


def listed(workdir: pathlib.Path) -> list[dict]:
    """The entries of the quarantine."""
    file = workdir / "quarantine.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def check_a(workdir: pathlib.Path, quiet: pathlib.Path) -> None:
    """Raises Broken unless the run is the quiet run."""
    if (workdir / "checkpoints.damaged").exists():
        raise Broken(f"damaged checkpoints in {workdir}")
    if entries := listed(workdir):
        raise Broken(f"whole files are in the quarantine: {entries}")
    if results(workdir) != results(quiet):
        raise Broken(f"other results: {results(workdir)} in {workdir}, {results(quiet)} in the quiet run")
    ours, theirs = rows(workdir), rows(quiet)
    if ours != theirs:
        first = next((pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]), "another number of rows")
        raise Broken(f"{workdir} reported other numbers: {first}")
    a, b = arrays(workdir), arrays(quiet)
    same = [x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True)]
    if not all(same):
        raise Broken(f"{same.count(False)} of {len(same)} arrays of the last checkpoint in {workdir} differ")


def check_b(workdir: pathlib.Path, turned: set[str]) -> None:
    """Raises Broken unless each file that was found bad is named once, and no other."""
    paths = [row["path"] for row in listed(workdir)]
    if more := [path for path, count in Counter(paths).items() if count > 1]:
        raise Broken(f"{workdir} names files more than once: {more}")
    if more := [path for path in paths if str(pathlib.Path(path).resolve()) not in turned]:
        raise Broken(f"{workdir} names files that were whole: {more}")
    if any(row["timeout"] for row in listed(workdir)) or (workdir / "checkpoints.damaged").exists():
        raise Broken(f"{workdir} names timeouts, or has damaged checkpoints")
    training = sum(pathlib.Path(path).name.startswith("train_") for path in paths)
    if results(workdir)["num_broken_train"] != training:
        raise Broken(f"{workdir} counts {results(workdir)['num_broken_train']} broken training files of {training}")


def turning(videos: pathlib.Path, turned: set[str]):
    """An action that replaces a video by a bad one of the same name; undone by renaming, too."""
    files = sorted(path.resolve() for path in (videos / "videos").iterdir())

    def turn(draw: random.Random):
        path = draw.choice(files)
        kept, new = path.with_name(f".{path.name}.kept"), path.with_name(f".{path.name}.new")
        if kept.exists() or len(list(path.parent.glob(".*.kept"))) >= 10:
            return None
        content = path.read_bytes()
        new.write_bytes(draw.choice([b"", content[: len(content) // 2], draw.randbytes(len(content))]))
        os.link(path, kept)
        os.replace(new, path)
        turned.add(str(path))
        return lambda: os.replace(kept, path)

    return turn


class Tally:
    """What was done in all rounds of one of the two runs."""

    def __init__(self):
        self.lives, self.lost, self.rounds, self.found, self.seconds = [], 0, 0, 0, 0.0

    def add(self, disturber: Disturber, *, found: int = 0) -> None:
        self.rounds, self.found = self.rounds + 1, self.found + found
        self.lives, self.lost = self.lives + disturber.lives, max(self.lost, disturber.lost)

    def memory(self) -> Iterator[tuple[str, list[float]]]:
        """MB: in the first quarter of the processes (or at the beginning of one), in the last one, and the highest."""
        measured = [life.memory for life in self.lives if life.memory]
        readers = [[*life.readers.values()] for life in self.lives if life.readers]
        for name, peaks in (("trainer, starts", [max(m) for m in measured]), ("readers", sum(readers, []))):
            part = -(-len(peaks) // 4)
            if len(peaks) >= 8:  # some are killed while they start
                yield name, [max(peaks[:part]), max(peaks[-part:]), max(peaks)]
        if measured:
            longest = max(measured, key=len)
            yield f"trainer, a life of {len(longest)} s", [longest[0], longest[-1], max(longest)]

    def print(self, title: str) -> None:
        did = sum((life.did for life in self.lives), Counter())
        ends = Counter(life.status() for life in self.lives)
        counts = f"{self.rounds}; {len(self.lives)}; {self.seconds / 60:.1f}"
        print(f"| {title}: rounds; starts; minutes | {counts} |")
        print(f"| done to it | {', '.join(f'{name} {count}' for name, count in sorted(did.items()))} |")
        print(f"| ended with status | {', '.join(f'{status}: {count}' for status, count in sorted(ends.items()))} |")
        print(f"| most steps done again | {self.lost} |")
        if self.found:
            print(f"| files found bad, each named once | {self.found} |")
        for name, (first, last, peak) in self.memory():
            print(f"| memory, MB: {name} | first {first:.0f}, last {last:.0f}, peak {peak:.0f} |")


def rounds(which: str, folder: pathlib.Path, disk: pathlib.Path | None, tally: Tally) -> Iterator[str]:
    """Disturbs run A or B until its time is over -> what was broken."""
    began = time.monotonic()
    calm_from = began + SHARE[which] / sum(SHARE[each] for each in _RUNS.value) * 60 * _MINUTES.value
    variables, videos = environment(folder), folder / "videos"
    turned: set[str] = set()
    more = {"loader.max_broken": 1.0} if which == "b" else {}
    while tally.rounds == 0 or time.monotonic() < calm_from:
        name = f"{which}{tally.rounds}"
        workdir = (disk or folder) / name
        alive = {*ENDS, "disk filled"} if which == "a" and tally.rounds % 2 else {}
        disturber = Disturber(
            lambda n, name=name, workdir=workdir: Life(
                command(workdir, videos, **more), variables, folder / f"{name}-{n}.log"
            ),
            {name: weight for name, weight in WEIGHTS[which].items() if name not in alive},
            seed=f"{_SEED.value} {name}",
            pause=_PAUSE.value,
            timeout=TIMEOUT,
            disk=disk,
            more={"file turned bad": turning(videos, turned)},
        )
        try:
            disturber.until_complete(calm_from=calm_from, limit=calm_from + LATE)
            if disturber.lost > 2 * SAVE_EVERY:
                raise Broken(f"{disturber.lost} steps were done again in {name}")
            check_a(workdir, folder / "quiet") if which == "a" else check_b(workdir, turned)
        except Broken as error:
            shutil.copytree(workdir, folder / f"{name}.broken", dirs_exist_ok=True)
            print(f"BROKEN: {error}", flush=True)
            yield str(error)
        tally.add(disturber, found=len(listed(workdir)))
        tally.seconds = time.monotonic() - began
        print(f"{name}: {len(disturber.lives)} starts, {dict(disturber.did)}, {tally.seconds / 60:.1f} min", flush=True)
        shutil.rmtree(workdir)
    for name, (first, last, _) in tally.memory():
        if last > FLAT * first:
            yield f"memory of {name} grew from {first:.0f} to {last:.0f} MB"


def main(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # of Orbax
    if len(argv) > 1 or not pathlib.Path("/proc/self/stat").exists():
        raise SystemExit(f"unknown arguments {argv[1:]}" if len(argv) > 1 else "Linux only: there is no /proc")
    folder = pathlib.Path(_FOLDER.value or tempfile.mkdtemp(prefix="soak-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    broken, tallies = [], {which: Tally() for which in _RUNS.value}
    with small_disk(folder / "disk") as disk:
        make_shapes(folder / "videos", **SIZES)
        if "a" in tallies:
            quiet = command(folder / "quiet", folder / "videos")
            subprocess.run(quiet, env=environment(folder), timeout=LATE, stdout=subprocess.DEVNULL, check=True)
        for which, tally in tallies.items():
            broken += rounds(which, folder, disk if which == "a" else None, tally)
    print(
        f"\n| seed {_SEED.value}, {_EPOCHS.value} epochs a run, {'' if disk else 'no '}disk to fill | |\n| --- | --- |"
    )
    for which, tally in tallies.items():
        tally.print(f"run {which.upper()}")
    print(f"| broken promises | {len(broken)} |")
    for line in broken:
        print(line)
    if broken:
        raise SystemExit(f"logs and workdirs are in {folder}")
    if not _FOLDER.value:
        shutil.rmtree(folder)


if __name__ == "__main__":
    app.run(main)
