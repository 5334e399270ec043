"""`python -m actjax.main --config=FILE[:ARG] --workdir=DIR --mode=train|eval|predict`

Numbers of the config are overridden on the command line: `--config.run.epochs=2`. In modes eval and predict `--config`
may be left out: the run's own, saved in its workdir, is used.
"""

import contextlib
import datetime
import gc
import importlib.metadata
import json
import logging
import pathlib
import platform
import subprocess
import sys
import time

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_dict, config_flags

# Loader processes import this module again, so what is heavy is imported where it is used.

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with an optional :argument.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; default runs/CONFIG-TIME.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "eval", "predict"], "What to do.")
_VIDEO = flags.DEFINE_string("video", None, "predict: a video file, or a folder of them.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "eval, predict: best, latest, or a step.")

log = logging.getLogger("actjax")


def main(argv: list[str]) -> None:
    """Reads the flags, checks the config, and does what `--mode` says."""
    started = time.perf_counter()
    absl_logging.set_verbosity(absl_logging.WARNING)  # the libraries speak through absl, actjax does not
    if len(argv) > 1:
        raise SystemExit(f"error: unknown arguments {argv[1:]}")
    if _MODE.value == "predict" and not _VIDEO.value:
        raise SystemExit("error: --mode=predict needs --video=FILE, or a folder of files")
    workdir = _workdir()
    config = _config(workdir)

    from actjax.experiment import build

    with _clear_errors():
        experiment = build(config)
    _set_up_logging(workdir)
    MODES[_MODE.value](experiment, config, workdir, started)


def train(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Trains, or goes on where a killed run stopped, and ends with the table of results."""
    from actjax import training

    log.info("this run lives in %s", workdir)
    _save_description(config, workdir)
    with _clear_errors():
        dataset = experiment.open_dataset()
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    log.info("parameter groups\n%s", experiment.groups)
    data = experiment.loop_data(dataset, workdir)
    metrics = training.train(experiment.task, data, experiment.optimizer, experiment.settings, workdir)
    _finish("results", metrics, dataset, experiment, workdir, started)


def evaluate(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Evaluates a checkpoint on the validation set."""
    import jax

    from actjax import training

    variables, step = _restore(experiment, workdir)
    with _clear_errors():
        dataset = experiment.open_dataset()
    passes = experiment.loop_data(dataset, workdir).evaluate()
    metrics = training.evaluate(jax.jit(experiment.task.predict), experiment.task.score, variables, next(passes))
    passes.close()
    _finish("results_eval", {"step": step, **metrics}, dataset, experiment, workdir, started)


def predict(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """The five best classes of one video file, or of every file in a folder, as a table and as JSON lines."""
    import jax
    import rich
    from rich.table import Table

    from actjax.predicting import predict_files

    variables, _ = _restore(experiment, workdir)
    names = json.loads((workdir / "class_names.json").read_text())
    table = Table("video", "class", "score")
    path = workdir / "predictions.jsonl"
    with _clear_errors(), path.open("w") as file:
        for row in predict_files(_VIDEO.value, experiment.protocol, jax.jit(experiment.task.predict), variables, names):
            file.write(json.dumps(row) + "\n")
            if "error" in row:
                table.add_row(row["video"], "[red]cannot be decoded", row["error"])
            for rank, best in enumerate(row.get("predictions", ())):
                table.add_row("" if rank else row["video"], best["class"], f"{best['score']:.4f}")
    rich.print(table)
    rich.print(f"predictions  {path}")


MODES = {"train": train, "eval": evaluate, "predict": predict}


@contextlib.contextmanager
def _clear_errors():
    """What the user can mend ends the program with its message alone, without a traceback."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error


def _parse_flags(argv: list[str]) -> list[str]:
    """The flags as absl parses them; ml_collections raises these for a config file or an override that is wrong."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, KeyError, AttributeError, ValueError, TypeError, OSError) as error:
        text = str(error).strip()
        if "Traceback" in text:  # of the config file, quoted in the message
            text = text.splitlines()[-1]
        raise SystemExit(f"error: {text}") from error


def _workdir() -> pathlib.Path:
    if _WORKDIR.value:
        return pathlib.Path(_WORKDIR.value)
    if _MODE.value != "train":
        raise SystemExit(f"error: --mode={_MODE.value} needs --workdir, the folder of a trained run")
    flag = flags.FLAGS["config"]
    name = pathlib.Path(flag.config_filename).stem if flag.present else "run"
    return pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _config(workdir: pathlib.Path) -> config_dict.ConfigDict:
    """The config of `--config`, or the one that the run in `workdir` was trained with."""
    if _CONFIG.value is not None:
        return _CONFIG.value
    saved = workdir / "config.json"
    if _MODE.value == "train" or not saved.exists():
        raise SystemExit(
            "error: --config=FILE is missing" if _MODE.value == "train" else f"error: no --config, and no {saved}"
        )
    return config_dict.ConfigDict(json.loads(saved.read_text()))


def _restore(experiment, workdir: pathlib.Path) -> tuple[dict, int]:
    from actjax import training

    with _clear_errors():
        return training.restore_variables(
            experiment.task, experiment.optimizer, experiment.settings, workdir, _CHECKPOINT.value
        )


def _set_up_logging(workdir: pathlib.Path) -> None:
    """One logger for the package: the terminal, and the run's train.log."""
    import jax
    import rich
    from rich.logging import RichHandler

    live = rich.get_console().is_terminal
    handlers = [
        RichHandler(show_path=False, show_level=False, log_time_format="%X")
        if live
        else logging.StreamHandler(sys.stdout)
    ]
    if _MODE.value != "predict":
        workdir.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(workdir / "train.log"))
    for handler in handlers:
        if not isinstance(handler, RichHandler):
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        log.addHandler(handler)
    log.setLevel(logging.INFO if jax.process_index() == 0 else logging.WARNING)
    log.propagate = False


def _save_description(config, workdir: pathlib.Path) -> None:
    """Writes config.json and environment.json; a resumed run hears which numbers changed."""
    import jax

    path = workdir / "config.json"
    text = config.to_json_best_effort(indent=2)
    if path.exists() and json.loads(path.read_text()) != json.loads(text):
        log.warning("this run goes on with another config than it began with; the old one is in %s.old", path)
        path.rename(f"{path}.old")
    path.write_text(text)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=pathlib.Path(__file__).parent
    )
    packages = (
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "orbax-checkpoint",
        "grain",
        "numpy",
        "decord",
        "opencv-python-headless",
    )
    environment = {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in ("actjax", *packages)},
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "commit": commit.stdout.strip() or None,
    }
    (workdir / "environment.json").write_text(json.dumps(environment, indent=2))


def _finish(name: str, metrics: dict, dataset, experiment, workdir: pathlib.Path, started: float) -> None:
    """Writes the metrics and shows them."""
    import numpy as np
    import rich
    from rich.table import Table

    gc.collect()  # jax gives the last batch's shared memory back only now; at exit it would count as leaked
    matrix = metrics.pop("confusion_matrix")
    header = ",".join(["real \\ predicted", *dataset.class_names])
    rows = [",".join([real, *map(str, row)]) for real, row in zip(dataset.class_names, matrix, strict=True)]
    (workdir / "confusion_matrix.csv").write_text("\n".join([header, *rows]) + "\n")
    (workdir / "class_names.json").write_text(json.dumps(dataset.class_names))
    settings = experiment.settings
    metrics |= {
        "num_broken": len(dataset.val) - metrics["num_videos"],
        "bn": settings.bn,
        "batch_size": settings.batch_size,
        "seconds": time.perf_counter() - started,
    }
    (workdir / f"{name}.json").write_text(json.dumps(metrics, indent=2, default=float))
    table = Table("metric", "value", title=f"validation, {metrics['num_videos']} videos")
    for key, value in metrics.items():
        table.add_row(key, f"{value:.4f}" if isinstance(value, (float, np.floating)) else str(value))
    rich.print(table)
    for what, where in (("results", f"{name}.json"), ("checkpoints", "checkpoints"), ("log", "train.log")):
        rich.print(f"{what:12} {workdir / where}")


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
