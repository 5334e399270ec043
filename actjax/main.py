"""`python -m actjax.main --config=RECIPE|FILE.py[:ARG] --workdir=DIR --mode=MODE`, or `actjax` with the same flags.

RECIPE is a name such as tsm_shapes; `actjax` without flags lists all names and modes.

The command line can override values of the config: `--config.run.epochs=2`. In modes eval, predict, extract and export,
`--config` may be omitted; the config saved in the run's workdir is then used.
"""

import datetime
import json
import os
import pathlib
import time
import traceback

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_dict, config_flags

from actjax import hosts
from actjax.config import of_a_run
from actjax.errors import clear_errors
from actjax.paths import is_url, local, to_path
from actjax.recipe_files import with_recipes
from actjax.usage import MODES, help_page

# Heavy modules are imported where they are used, so a wrong flag fails at once.

_CONFIG = config_flags.DEFINE_config_file("config", None, "A recipe or a Python file, with an optional :argument.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder or gs:// URL of the run; default runs/CONFIG-TIME.")
_OF_A_RUN = ("eval", "predict", "extract", "export")  # modes that use an existing workdir
_OF_MANY = ("train", "eval", "extract")  # modes that can run in several processes
_MODE = flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")
_VIDEO = flags.DEFINE_string("video", None, "predict, extract: a video file, or a folder of them.")
_OUT = flags.DEFINE_string("out", None, "Folder of the prepared set or features; export: a .pth or .safetensors file.")
_FROM = flags.DEFINE_string("from", None, "import: a checkpoint from MMAction2, the TSM authors or torchvision.")
_PROTOCOL = flags.DEFINE_enum("protocol", "test", ["test", "eval"], "eval, predict, extract: config section to use.")
_FEATURES = flags.DEFINE_string("features", None, "prepare: folder of feature files, instead of a config's videos.")
_STAGE = flags.DEFINE_string("stage", None, "import, export: which network of BSN, tem or pem.")
_DEVICES = flags.DEFINE_integer("devices", None, "explain: simulate this many CPU devices.", lower_bound=1)
_NUM = flags.DEFINE_integer("num", 16, "browse: number of clips to show.", lower_bound=1)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "eval, predict, extract, export: best, latest or a step.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "Run in several processes: auto, slurm, k8s, tpu or HOST:PORT,N,I; default $ACTJAX_DISTRIBUTED.",
)
_HEARTBEAT = flags.DEFINE_integer(
    "heartbeat", 60, "Several processes: seconds without a heartbeat after which one counts as lost.", lower_bound=10
)


def main(argv: list[str]) -> None:
    """Checks the flags, loads the config and runs `--mode`."""
    started = time.perf_counter()
    absl_logging.set_verbosity(absl_logging.WARNING)  # libraries log through absl, actjax does not
    if len(argv) > 1:
        raise SystemExit(f"error: unknown arguments {argv[1:]}")
    for mode, flag, wanted in (
        ("predict", _VIDEO, "--video=FILE, or a folder of files"),
        ("prepare", _OUT, "--out=FOLDER"),
        ("extract", _OUT, "--out=FOLDER"),
        ("export", _OUT, "--out=FILE.pth or FILE.safetensors"),
        ("import", _FROM, "--from=FILE"),
    ):
        if _MODE.value == mode and not flag.value:
            raise SystemExit(f"error: --mode={mode} needs {wanted}")
    with clear_errors():
        for name, flag in (("--out", _OUT), ("--from", _FROM), ("--features", _FEATURES)):
            local(flag.value or "", name)
        workdir = _workdir()
    place = _place()
    if _MODE.value == "prepare" and _FEATURES.value:
        from actjax.tasks.bsn.modes import prepare_features

        return prepare_features(pathlib.Path(_FEATURES.value), _OUT.value)
    if _DEVICES.value:
        _simulate(_DEVICES.value)
    config = _config(workdir)
    timeout = _meet(place)

    from actjax.training import joined

    with joined(place, heartbeat=_HEARTBEAT.value, timeout=timeout):
        _do(config, workdir, started)


def _do(config, workdir: pathlib.Path, started: float) -> None:
    """Runs `--mode` of the config's task."""
    from actjax.tasks import build, registered
    from actjax.tasks.running import Call
    from actjax.workdir import set_up_logging, upload_log

    with clear_errors():
        task = registered(config)
        run = build(config if _CONFIG.value is not None else of_a_run(config))
        if _MODE.value not in task.modes:
            raise ValueError(
                f"--mode={_MODE.value} does not apply to this config's task; use one of {sorted(task.modes)}"
            )
        if task.local:
            local(workdir, "--workdir of BSN, BMN and SSN:")
    call = Call(
        _MODE.value,
        config,
        workdir,
        started,
        video=_VIDEO.value,
        out=_OUT.value,
        source=_FROM.value,
        stage=_STAGE.value,
        num=_NUM.value,
        protocol=_PROTOCOL.value,
        checkpoint=_CHECKPOINT.value,
    )
    set_up_logging(workdir / "train.log" if _MODE.value in ("train", "eval") else None)
    try:
        task.modes[_MODE.value](run, call)
    finally:
        upload_log()


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags. Errors of a config file or an override become one-line messages."""
    if {"--help", "-help", "--helpshort", "-h", "-?"} & {*argv[1:]}:
        ours = flags.FLAGS.find_module_defining_flag("workdir")
        print(help_page(flags.FLAGS.get_flags_for_module(ours)), end="")
        raise SystemExit(0)
    try:
        return flags.FLAGS([argv[0], *with_recipes(argv[1:])])
    except (KeyError, AttributeError) as error:
        if "ml_collections" not in traceback.extract_tb(error.__traceback__)[-1].filename:
            raise  # raised by the config file itself
        inner = error.args[0]
        what, *near = str(inner.args[0] if isinstance(inner, Exception) else inner).splitlines()
        what += ": no such key in the config; only existing keys can be overridden." if what.startswith("'") else ""
        raise SystemExit(" ".join([f"error: --config: {what}", *near])) from error
    except flags.UnrecognizedFlagError as error:
        missing = "; overrides also need --config=FILE" if error.flagname.startswith("config.") else ""
        raise SystemExit(f"error: {_reason(error)}{missing}") from error
    except (flags.Error, ValueError, TypeError, OSError) as error:
        raise SystemExit(f"error: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The error's message; for a config file that did not load, only the last line, without the traceback."""
    text = str(error).strip()
    return text.splitlines()[-1].strip() if "Traceback" in text or "Failed loading config" in text else text


def _simulate(num_devices: int) -> None:
    """Makes JAX use simulated CPU devices; must run before JAX looks for devices."""
    import jax

    if _MODE.value != "explain":
        raise SystemExit("error: --devices works only with --mode=explain")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", num_devices)


def _place() -> hosts.Place | None:
    """This process's place in the run, from `--distributed`; None for a single process."""
    spec = _DISTRIBUTED.value or os.environ.get("ACTJAX_DISTRIBUTED")
    if not spec:
        return None
    with clear_errors():
        place = hosts.find_place(spec, os.environ)
    if place.count == 1:
        return None
    if _MODE.value not in _OF_MANY:
        raise SystemExit(f"error: --mode={_MODE.value} runs in one process; remove --distributed={spec}")
    if not _WORKDIR.value:
        raise SystemExit(f"error: --distributed={spec} needs --workdir, the same folder for all processes")
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
    if _MODE.value in _OF_A_RUN and not (_WORKDIR.value and to_path(_WORKDIR.value).is_dir()):
        raise ValueError(f"--mode={_MODE.value} needs --workdir, the folder of a trained run; got {_WORKDIR.value}")
    if _WORKDIR.value:
        return to_path(_WORKDIR.value)
    flag = flags.FLAGS["config"]
    name = pathlib.Path(flag.config_filename.partition(":")[0]).stem if flag.present else "run"
    return pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _config(workdir: pathlib.Path) -> config_dict.ConfigDict:
    """The config from `--config`, or the one saved in `workdir`."""
    if _CONFIG.value is not None:
        try:
            return _CONFIG.value.copy_and_resolve_references()
        except OSError as error:  # ml_collections reports a file that did not load only on first use
            raise SystemExit(f"error: {_reason(error)}") from error
    saved = workdir / "config.json"
    if _MODE.value not in _OF_A_RUN and not saved.exists():
        raise SystemExit("error: --config=FILE is missing")
    if not saved.exists():
        raise SystemExit(f"error: no --config, and no {saved}")
    return config_dict.ConfigDict(json.loads(saved.read_text()))


def start() -> None:
    """Runs the command line; never returns."""
    app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
    start()
