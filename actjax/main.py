"""`python -m actjax.main --config=RECIPE|FILE.py[:ARG] --workdir=DIR --mode=MODE`, or `actjax` with the same flags.

RECIPE is a name such as tsm_shapes; `actjax` without flags lists all names and modes.

`--config.SECTION.KEY=VALUE` overrides the config, for every key that the section may hold. In modes eval, predict,
extract and export, `--config` may be omitted; the config saved in the run's workdir is then used.
"""

import datetime
import multiprocessing
import os
import pathlib
import shlex
import signal
import sys
import time

from absl import app, flags
from absl import logging as absl_logging

from actjax import hosts
from actjax.config.overrides import split_flags
from actjax.config.recipe_files import config_path
from actjax.errors import clear_errors, one_line
from actjax.literal import literal
from actjax.paths import is_url, local, to_path
from actjax.usage import MODES, help_page
from actjax.version import __version__

# Heavy modules are imported where they are used, so a wrong flag fails at once.

_CONFIG = flags.DEFINE_string("config", None, "A recipe or a Python file, with an optional :argument.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder or gs:// URL of the run; default runs/CONFIG-TIME.")
_OF_A_RUN = ("eval", "predict", "localize", "extract", "export")  # modes that use an existing workdir
_OF_A_FOLDER = (*_OF_A_RUN, "quarantine")
_OF_MANY = ("train", "eval", "localize", "extract")  # modes that can run in several processes
_MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")
_VIDEO = flags.DEFINE_string("video", None, "predict, localize, extract: a video file, a folder or a pattern.")
_OUT = flags.DEFINE_string(
    "out", None, "prepare, extract, localize: a folder; export: a .pth or .safetensors file; predict: a .jsonl file."
)
_TOPK = flags.DEFINE_integer("topk", 5, "predict: number of classes to show, likeliest first.", lower_bound=1)
_FROM = flags.DEFINE_string("from", None, "import: a checkpoint from MMAction2, the TSM authors or torchvision.")
_EMA = flags.DEFINE_bool("ema", None, "import: take averaged (EMA) weights, --noema: plain ones, if there are both.")
_PROTOCOL = flags.DEFINE_enum("protocol", "test", ["test", "eval"], "eval, predict, extract: config section to use.")
_FEATURES = flags.DEFINE_string(
    "features",
    None,
    "prepare: folder of feature files, instead of a config's videos; localize: file or folder of them.",
)
_NETWORK = flags.DEFINE_string("network", None, "localize: the run that makes the features, if it has moved.")
_PROPOSALS = flags.DEFINE_string("proposals", None, "localize, SSN: a run of BSN, BMN, TSN or TSM, or a result file.")
_TRUTH = flags.DEFINE_string("truth", None, "localize: annotation file, to draw the ground truth beside the results.")
_RENDER = flags.DEFINE_bool("render", False, "localize: also write every video with its labels.")
_MIN_SCORE = flags.DEFINE_float(
    "min_score", None, "localize: score from which on subtitles and pictures show segments."
)
_STAGE = flags.DEFINE_string("stage", None, "import, export: which network of BSN, tem or pem.")
_DEVICES = flags.DEFINE_integer("devices", None, "explain: simulate this many CPU devices.", lower_bound=1)
_NUM = flags.DEFINE_integer("num", 16, "browse: number of clips to show.", lower_bound=1)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "eval, predict, extract, export: best, latest or a step.")
_CLEAR = flags.DEFINE_string("clear", None, "quarantine: what to forget: all, timeouts, or a file of the list.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "Run in several processes: auto, slurm, k8s, tpu or HOST:PORT,N,I; default $ACTJAX_DISTRIBUTED.",
)
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", 60, "Several processes: seconds without a heartbeat after which one counts as lost.", lower_bound=10
)
_TRUST_CODE = flags.DEFINE_bool("trust_code", False, "Run the code in a workdir that was not made on this computer.")
_NEEDED = (
    ("predict", _VIDEO, "--video=FILE, or a folder of files"),
    ("prepare", _OUT, "--out=FOLDER"),
    ("extract", _OUT, "--out=FOLDER"),
    ("export", _OUT, "--out=FILE.pth or FILE.safetensors"),
    ("import", _FROM, "--from=FILE"),
)
_TAKEN_BY = (  # flags that only these modes take
    ("devices", _DEVICES, ("explain",)),
    ("video", _VIDEO, ("predict", "localize", "extract")),
    ("topk", _TOPK, ("predict",)),
    ("out", _OUT, ("predict", "localize", "extract", "export", "prepare")),
    ("from", _FROM, ("import",)),
    ("ema", _EMA, ("import",)),
    ("features", _FEATURES, ("prepare", "localize")),
    ("network", _NETWORK, ("localize",)),
    ("proposals", _PROPOSALS, ("localize",)),
    ("truth", _TRUTH, ("localize",)),
    ("render", _RENDER, ("localize",)),
    ("min_score", _MIN_SCORE, ("localize",)),
    ("stage", _STAGE, ("import", "export")),
    ("num", _NUM, ("browse",)),
    ("protocol", _PROTOCOL, ("eval", "predict", "extract")),
    ("checkpoint", _CHECKPOINT, _OF_A_RUN),
    ("clear", _CLEAR, ("quarantine",)),
)
_changes: dict = {}  # overrides of the config, by dotted key


def main(argv: list[str]) -> None:
    """Checks the flags and runs `--mode`."""
    started = time.perf_counter()
    absl_logging.set_verbosity(absl_logging.WARNING)  # libraries log through absl, actjax does not
    with one_line(), clear_errors():
        _check(argv)
        place = _place()
        workdir = _workdir()
        timeout = _meet(place)
    if _MODE.value == "prepare" and _FEATURES.value:
        from actjax.tasks.bsn.modes import prepare_features

        with one_line():
            return prepare_features(pathlib.Path(_FEATURES.value), _OUT.value)
    if _MODE.value == "quarantine":
        from actjax.quarantined import show_quarantine

        with one_line(), clear_errors(OSError):
            return show_quarantine(workdir, clear=_CLEAR.value)
    if _DEVICES.value:
        _simulate(_DEVICES.value)

    from actjax.training import joined

    with joined(place, heartbeat=_HEARTBEAT.value, timeout=timeout), one_line():
        _do(workdir, started)


def _check(argv: list[str]) -> None:
    """Raises ValueError for flags that are missing or do not go together."""
    if len(argv) > 1:
        hint = f"; write --mode={argv[1]}" if argv[1] in MODES else "; all arguments have names, such as --video=FILE"
        raise ValueError(f"unknown arguments {argv[1:]}{hint}")
    for mode, flag, wanted in _NEEDED:
        if _MODE.value == mode and not flag.value:
            raise ValueError(f"--mode={mode} needs {wanted}")
    for name, flag, modes in _TAKEN_BY:
        if flag.present and _MODE.value not in modes:
            raise ValueError(f"--{name} works only with --mode={' or '.join(modes)}, not with --mode={_MODE.value}")
    if _MODE.value == "localize" and bool(_VIDEO.value) == bool(_FEATURES.value):
        raise ValueError("--mode=localize needs --video=FILE, or a folder of files, or --features; one of the two")
    if empty := [flag.name for flag in _ours() if flag.present and flag.value == ""]:
        raise ValueError(f"--{empty[0]}= is empty; give it a value, or leave it out")
    for name, flag in (("--out", _OUT), ("--from", _FROM), ("--features", _FEATURES)):
        local(flag.value or "", name)
    if _CONFIG.value is not None:
        config_path(_CONFIG.value)


def _do(workdir: pathlib.Path, started: float) -> None:
    """Opens the config, from `--config` or from the workdir, and runs `--mode` of its task."""
    from actjax.door import run_mode
    from actjax.tasks.opening import open_config, open_workdir
    from actjax.training import Preempted

    with clear_errors():
        if _CONFIG.value is not None:
            keep_code = _MODE.value in ("train", "import")
            opened = open_config(_CONFIG.value, _changes, workdir=workdir, keep_code=keep_code)
        else:
            opened = open_workdir(workdir, _changes, trust_code=_TRUST_CODE.value)
    names = dict(
        video=_VIDEO, out=_OUT, source=_FROM, stage=_STAGE, num=_NUM, protocol=_PROTOCOL, topk=_TOPK,
        checkpoint=_CHECKPOINT, ema=_EMA, features=_FEATURES, network=_NETWORK, proposals=_PROPOSALS, truth=_TRUTH,
        render=_RENDER, min_score=_MIN_SCORE,
    )  # fmt: skip
    options = {name: flag.value for name, flag in names.items()}
    try:
        run_mode(_MODE.value, opened, workdir, started=started, **options)
    except KeyboardInterrupt as error:
        if isinstance(error.__cause__, Preempted):
            print(f"to resume: {_same_command(workdir)}", file=sys.stderr, flush=True)
            raise error.__cause__ from None  # which has an exit status of its own
        raise


def _same_command(workdir: pathlib.Path) -> str:
    """The command line of this run, with its workdir."""
    program = os.path.basename(sys.argv[0])
    program = "python -m actjax.main" if program.endswith(".py") else program
    given = [] if _WORKDIR.present else [f"--workdir={workdir}"]
    return shlex.join([*program.split(), *sys.argv[1:], *given])


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags, and keeps the overrides of the config; errors become one-line messages."""
    if {"--help", "-help", "--helpshort", "-h", "-?"} & {*argv[1:]}:
        print(help_page(_ours()), end="")
        raise SystemExit(0)
    if {"--version", "-version"} & {*argv[1:]}:
        print(f"actjax {__version__}")
        raise SystemExit(0)
    try:
        rest, changes = split_flags(argv[1:])
        _changes.update(changes)
        return flags.FLAGS([argv[0], *rest])
    except flags.UnrecognizedFlagError as error:
        key = error.flagname if "." in error.flagname else f"SECTION.{error.flagname}"
        hint = f"`actjax --help` lists the flags; keys of a config are written --config.{key}=VALUE"
        raise SystemExit(f"error: {error}; {hint}") from error
    except (flags.Error, ValueError) as error:
        raise SystemExit(f"error: {error}") from error


def _ours() -> list[flags.Flag]:
    """The flags of this module, whatever its name is when it is run."""
    return flags.FLAGS.get_flags_for_module(flags.FLAGS.find_module_defining_flag("workdir"))


def _simulate(num_devices: int) -> None:
    """Makes JAX use simulated CPU devices; must run before JAX looks for devices."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", num_devices)


def _place() -> hosts.Place | None:
    """This process's place in the run, from `--distributed`; None for a single process."""
    spec = _DISTRIBUTED.value or os.environ.get("ACTJAX_DISTRIBUTED")
    if not spec:
        return None
    place = hosts.find_place(spec, os.environ)
    if place.count == 1:
        return None
    if _MODE.value not in _OF_MANY:
        raise ValueError(f"--mode={_MODE.value} runs in one process; remove --distributed={spec}")
    if not _WORKDIR.value:
        raise ValueError(f"--distributed={spec} needs --workdir, the same folder for all processes")
    return place


def _meet(place: hosts.Place | None) -> float:
    """Checks the address of process 0 -> seconds that the processes wait for each other; 0 for a single process."""
    if place is None:
        return 0.0
    with clear_errors(hosts.StartError):
        timeout = hosts.timeout(os.environ)
        hosts.check_address(place, timeout=timeout)
    return timeout


def _workdir() -> pathlib.Path:
    if is_url(_WORKDIR.value or "") and not _WORKDIR.value.startswith("gs://"):  # orbax writes to no other URLs
        raise ValueError(f"--workdir={_WORKDIR.value}: use a local folder or a gs:// URL, and copy the run afterwards")
    if _MODE.value in _OF_A_FOLDER and not (_WORKDIR.value and to_path(_WORKDIR.value).is_dir()):
        found = f"{_WORKDIR.value} is no folder" if _WORKDIR.value else "none was given"
        raise ValueError(f"--mode={_MODE.value} needs --workdir, the folder of a trained run; {found}")
    if _WORKDIR.value:
        workdir = to_path(_WORKDIR.value)
        needs_config = not (_MODE.value == "prepare" and _FEATURES.value) and _MODE.value != "quarantine"
        if _CONFIG.value is None and needs_config and not (workdir / "config.json").exists():
            raise FileNotFoundError(f"no --config, and no {workdir / 'config.json'}")
        return workdir
    if _CONFIG.value is None and not _FEATURES.value:
        raise ValueError("--config=RECIPE or --config=FILE.py is missing; `actjax` alone lists the recipes")
    name = pathlib.Path((_CONFIG.value or "run").partition(":")[0]).stem
    return pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def start() -> None:
    """Runs the command line; never returns."""
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _not_dropped
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a name of a file need not be valid Unicode
    try:
        app.run(main, flags_parser=_parse_flags)
    except KeyboardInterrupt:
        _leave()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(literal(end.code), file=sys.stderr, flush=True)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        signal.signal(signal.SIGINT, lambda *_: os._exit(status))  # while Python shuts down, Ctrl-C changes nothing
        raise SystemExit(status) from None


def _interrupt(number: int, frame) -> None:
    """Interrupts XLA's compiler, too, for which Python's own handler would wait: `training.preemption.compiling`."""
    raise KeyboardInterrupt


def _not_dropped(unraisable) -> None:
    """Ends the program after a Ctrl-C that Python drops because it came in a callback: XLA has one for the gc.

    Shows other errors in callbacks, except those that follow when a checkpoint cannot be written, one for each array.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        _leave()
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _leave() -> None:
    """Ends an interrupted program at once: XLA may be compiling in threads that crash when Python shuts down."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for child in multiprocessing.active_children():
        child.kill()
    if code := sys.modules.get("actjax.config.active_code"):
        code.remove_all()
    print("interrupted", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(130)


if __name__ == "__main__":
    start()
