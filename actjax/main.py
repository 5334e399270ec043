"""`python -m actjax.main --config=FILE[:ARG] --workdir=DIR --mode=MODE`

MODE is train, eval, predict, extract, import, export, check, prepare, browse or explain.

Numbers of the config are overridden on the command line: `--config.run.epochs=2`. In modes eval, predict and export
`--config` may be left out: the run's own, saved in its workdir, is used.
"""

import contextlib
import datetime
import gc
import json
import logging
import os
import pathlib
import time
import traceback

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_dict, config_flags

from actjax import hosts
from actjax.paths import is_url, local, to_path

# What is heavy is imported where it is used: a wrong flag is answered at once.

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with an optional :argument.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, or gs:// URL; default runs/CONFIG-TIME.")
_MODES = ["train", "eval", "predict", "extract", "import", "export", "check", "prepare", "browse", "explain"]
_OF_A_RUN = ("eval", "predict", "extract", "export")  # modes that use what is in a workdir
_OF_MANY = ("train", "eval", "extract")  # modes that several processes share
_MODE = flags.DEFINE_enum("mode", "train", _MODES, "What to do.")
_VIDEO = flags.DEFINE_string("video", None, "predict, extract: a video file, or a folder of them.")
_OUT = flags.DEFINE_string("out", None, "Folder of the prepared set, of features; export: a .pth or .safetensors file.")
_FROM = flags.DEFINE_string("from", None, "import: a checkpoint of MMAction2, the TSM authors or torchvision.")
_PROTOCOL = flags.DEFINE_enum("protocol", "test", ["test", "eval"], "eval, predict: the config's section to follow.")
_FEATURES = flags.DEFINE_string("features", None, "prepare: folder of feature files, in place of a config's videos.")
_STAGE = flags.DEFINE_string("stage", None, "import, export: which network of a chain, tem or pem.")
_DEVICES = flags.DEFINE_integer("devices", None, "explain: CPU devices, in place of those there are.", lower_bound=1)
_NUM = flags.DEFINE_integer("num", 16, "browse: clips to show.", lower_bound=1)
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "eval, predict: best, latest, or a step.")
_DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    None,
    "One of several processes: auto, slurm, k8s, tpu or HOST:PORT,N,I (docs/scaling.md); default: $ACTJAX_DISTRIBUTED.",
)

log = logging.getLogger("actjax")


def main(argv: list[str]) -> None:
    """Reads the flags, checks the config, and does what `--mode` says."""
    started = time.perf_counter()
    absl_logging.set_verbosity(absl_logging.WARNING)  # the libraries speak through absl, actjax does not
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
    with _clear_errors():
        for name, flag in (("--out", _OUT), ("--from", _FROM), ("--features", _FEATURES)):
            local(flag.value or "", name)
        workdir = _workdir()
    place = _place()
    if _MODE.value == "prepare" and _FEATURES.value:
        return prepare_features(pathlib.Path(_FEATURES.value))
    if _DEVICES.value:
        _simulate(_DEVICES.value)
    config = _config(workdir)
    link = _link(place)

    from actjax.training import joined

    with joined(place, link):
        _do(config, workdir, started)


def _do(config, workdir: pathlib.Path, started: float) -> None:
    """What `--mode` says, for the config's task."""
    from actjax.experiment import Detector, Proposer, build
    from actjax.workdir import set_up_logging, upload_log

    with _clear_errors():
        experiment = build(config)
    modes = {Proposer: PROPOSER_MODES, Detector: DETECTOR_MODES}.get(type(experiment), MODES)
    if _MODE.value not in modes:
        raise SystemExit(f"error: --mode={_MODE.value} is not for this config's task; choose from {sorted(modes)}")
    with _clear_errors():
        if modes is not MODES:  # thousands of small files between the stages, and folders that are moved aside
            local(workdir, "--workdir of BSN, BMN and SSN:")
    set_up_logging(workdir / "train.log" if _MODE.value in ("train", "eval") else None)
    try:
        modes[_MODE.value](experiment, config, workdir, started)
    finally:
        upload_log()


def train(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Trains, or goes on where a killed run stopped, and ends with the table of results."""
    from actjax import training
    from actjax.experiment.networks import initial_variables
    from actjax.workdir import save_description

    log.info("this run lives in %s", workdir)
    with _clear_errors():
        initial = initial_variables(experiment.load_from, workdir)
        dataset = experiment.open_dataset()
    save_description(workdir, config, dataset.class_names)
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    log.info("parameter groups\n%s", experiment.groups)
    data = experiment.loop_data(dataset, workdir)
    metrics = training.train(experiment.task, data, experiment.optimizer, experiment.settings, workdir, initial=initial)
    _finish("results", metrics, dataset, experiment, workdir, started)


def evaluate(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Evaluates a checkpoint on the validation set, and keeps every video's scores."""
    import jax

    from actjax import training
    from actjax.workdir import save_scores

    variables, step = _restore(experiment, workdir)
    task, protocol = _tested(experiment)
    with _clear_errors():
        dataset = experiment.open_dataset()
    passes = experiment.loop_data(dataset, workdir, eval=protocol).evaluate()
    outputs, targets = training.collect(jax.jit(task.predict), variables, next(passes))
    passes.close()
    names = [dataset.val[k].path for k in targets["record"]]
    save_scores(workdir / "scores.npz", names, outputs["scores"], targets["label"])
    metrics = {"step": step, "protocol": _PROTOCOL.value, **task.score(outputs, targets), "num_videos": len(names)}
    _finish("results_eval", metrics, dataset, experiment, workdir, started)


def predict(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """The five best classes of one video file, or of every file in a folder, as a table and as JSON lines."""
    import jax
    import rich
    from rich.table import Table

    from actjax.predicting import predict_files

    variables, _ = _restore(experiment, workdir)
    task, protocol = _tested(experiment)
    names = json.loads((workdir / "class_names.json").read_text())
    table = Table("video", "class", "score")
    path = workdir / "predictions.jsonl"
    with _clear_errors(), path.open("w") as file:
        for row in predict_files(_VIDEO.value, protocol, jax.jit(task.predict), variables, names):
            file.write(json.dumps(row) + "\n")
            if "error" in row:
                table.add_row(row["video"], "[red]cannot be decoded", row["error"])
            for rank, best in enumerate(row.get("predictions", ())):
                table.add_row("" if rank else row["video"], best["class"], f"{best['score']:.4f}")
    rich.print(table)
    rich.print(f"predictions  {path}")


def extract(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Writes features of `--video`, or of the videos of the config, to `--out`, or goes on where it stopped."""
    import jax

    from actjax import training
    from actjax.data.annotations import VideoRecord
    from actjax.data.loading import Shard
    from actjax.data.quarantine import Quarantine
    from actjax.data.snippets import Snippets
    from actjax.extracting import extract_features, join_info
    from actjax.models import embedding
    from actjax.predicting import video_files
    from actjax.workdir import progress

    variables, step = _restore(experiment, workdir)
    options, loading = experiment.extraction, experiment.loading
    out = pathlib.Path(_OUT.value)
    with _clear_errors(RuntimeError):
        if _VIDEO.value:
            records = [VideoRecord(str(file)) for file in video_files(_VIDEO.value)]
        else:
            dataset = experiment.open_dataset()
            records = [*dataset.train, *dataset.val]
        out.mkdir(parents=True, exist_ok=True)
        variables = training.local(variables)
        snippets = Snippets(_tested(experiment)[1], options.interval, options.num_frames, options.chunk)
        embed = jax.jit(lambda variables, clips: embedding(experiment.model, variables, clips, what=options.what))
        summary = extract_features(
            records,
            out,
            snippets,
            lambda clips: embed(variables, clips),
            quarantine=Quarantine(out / "quarantine.jsonl", num_records=len(records), max_share=1.0),
            suffix=options.suffix,
            shard=Shard(jax.process_index(), jax.process_count()),
            timeout=loading.timeout,
            progress=progress,
        )
    training.wait_for_all("features")
    if jax.process_index() == 0:
        join_info(out)
    log.info("%s: %s, by the network of step %d", out, summary, step)


def import_(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Makes a run of somebody else's checkpoint, to be evaluated, used, or trained on."""
    from actjax import training
    from actjax.models import import_checkpoint
    from actjax.workdir import save_description

    with _clear_errors():
        names = experiment.class_names()
        imported = import_checkpoint(_FROM.value, experiment.model)
        start = lambda: imported.variables
        training.save_variables(experiment.task, experiment.optimizer, experiment.settings, workdir, start)
    save_description(workdir, config, names)
    log.info("%s\nthe run is in %s", imported.report, workdir)


def export(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Writes a checkpoint under MMAction2's names, for torch (.pth) or as .safetensors."""
    from actjax.models import export_checkpoint

    variables, step = _restore(experiment, workdir)
    meta = {"step": step, "CLASSES": json.loads((workdir / "class_names.json").read_text())}
    with _clear_errors():
        names = export_checkpoint(variables, experiment.model, _OUT.value, meta=meta)
    log.info("%s: %d tensors of step %d", _OUT.value, len(names), step)


def explain(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Shows what a training step costs on the devices there are, or on `--devices`; no data is needed."""
    _explain("training step", experiment, experiment.task)


def _explain(title: str, network, task) -> None:
    import rich
    from rich.table import Table

    from actjax import training

    with _clear_errors():
        costs = training.explain(task, network.optimizer, network.settings, network.item)
    table = Table(title, "")
    for row in costs.rows():
        table.add_row(*row)
    rich.print(table)
    log.info("parameter groups\n%s", network.groups)


def check(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Looks at every video of both splits: what cannot be decoded is listed, the rest becomes a clean list."""
    from actjax.data.annotations import save_annotations
    from actjax.data.checking import scan
    from actjax.workdir import progress

    with _clear_errors():
        dataset = experiment.open_dataset()
    workdir.mkdir(parents=True, exist_ok=True)
    options = dict(num_workers=experiment.loading.num_workers, timeout=experiment.loading.timeout)
    broken, lists = workdir / "broken.jsonl", {}
    with broken.open("w") as file:
        for split, protocol in (("train", experiment.train_protocol), ("val", experiment.protocol)):
            records, clean = getattr(dataset, split), []
            reasons = scan(records, backend=protocol.backend, modality=protocol.modality, **options)
            for record, reason in zip(records, progress(reasons, len(records), split), strict=True):
                if reason is None:
                    clean.append(record)
                else:
                    file.write(json.dumps({"path": record.path, "reason": reason, "split": split}) + "\n")
                    log.warning("%s: %s", record.path, reason)
            lists[split] = workdir / f"{split}_clean.csv"
            save_annotations(clean, lists[split])
            log.info("%s: %d of %d videos are sound: %s", split, len(clean), len(records), lists[split])
    log.info("what is broken: %s (also for --config.loader.skip)", broken)


def prepare(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Writes both splits to `--out` as sharded ArrayRecord; goes on where a killed run stopped."""
    from actjax.workdir import progress

    with _clear_errors(RuntimeError):
        dataset = experiment.open_dataset()
        for split in ("train", "val"):
            records = getattr(dataset, split)
            summary = experiment.prepare(
                records, _OUT.value, split=split, class_names=dataset.class_names, progress=progress
            )
            log.info("%s: %s", split, summary)
    log.info("train from it with --config=CONFIG:prepared=%s, or data=dict(name='prepared', folder=...)", _OUT.value)


def prepare_features(folder: pathlib.Path) -> None:
    """Writes the .csv and .npy files of a folder to `--out`; needs no config."""
    from actjax.data import builders
    from actjax.workdir import progress, set_up_logging

    set_up_logging(None)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".csv", ".npy"))
    if not paths:
        raise SystemExit(f"error: --features={folder} holds no .csv and no .npy file")
    with _clear_errors(RuntimeError):
        log.info("%s", builders.prepare_features(paths, _OUT.value, progress=progress))


def browse(experiment, config, workdir: pathlib.Path, started: float) -> None:
    """Draws the first clips of training as the network sees them."""
    import jax
    import numpy as np

    from actjax.browsing import contact_sheet, save_png

    def augmented(video, position: int):
        nothing = np.zeros((len(video), len(dataset.class_names)), np.float32)
        return np.asarray(experiment.augment(video, nothing, jax.random.key(position))[0])

    with _clear_errors():
        dataset = experiment.open_dataset()
        sheet = contact_sheet(
            dataset.train,
            experiment.train_protocol,
            dataset.class_names,
            num=_NUM.value,
            seed=experiment.settings.seed,
            timeout=experiment.loading.timeout,
            augment=augmented if experiment.augment else None,
        )
    save_png(workdir / "browse.png", sheet)
    log.info("%d clips: %s", _NUM.value, workdir / "browse.png")


MODES = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "extract": extract,
    "import": import_,
    "export": export,
    "check": check,
    "explain": explain,
    "prepare": prepare,
    "browse": browse,
}


def propose(proposer, config, workdir: pathlib.Path, started: float) -> None:
    """BSN, BMN: goes through the stages, or on where a killed run stopped, and ends with the table of recalls."""
    from actjax import localizing
    from actjax.workdir import save_description

    log.info("this run lives in %s", workdir)
    with _clear_errors():
        localizing.check_stages(proposer, workdir)
        dataset = proposer.open_dataset()
        workdir.mkdir(parents=True, exist_ok=True)
    training = _MODE.value == "train"
    if training:
        save_description(workdir, config, [])
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    if dataset.left_out:
        log.warning("%d videos have no features, %s the first", len(dataset.left_out), dataset.left_out[0])
    checkpoint = None if training or not flags.FLAGS["checkpoint"].present else _CHECKPOINT.value
    with _clear_errors():
        localizing.run(proposer, dataset, workdir, train=training, checkpoint=checkpoint)


def explain_networks(proposer, config, workdir: pathlib.Path, started: float) -> None:
    """BSN, BMN: `explain` of every network."""
    for name, network in proposer.networks.items():
        _explain(f"training step of {name}", network, network.task(None))


def import_network(proposer, config, workdir: pathlib.Path, started: float) -> None:
    """BSN, BMN: takes somebody else's checkpoint for one of the networks, which then counts as trained."""
    from actjax import localizing
    from actjax.workdir import save_description

    with _clear_errors():
        report = localizing.import_network(proposer, _stage(proposer), _FROM.value, workdir)
    save_description(workdir, config, [])
    log.info("%s\nthe run is in %s", report, workdir)


def export_network(proposer, config, workdir: pathlib.Path, started: float) -> None:
    """BSN, BMN: writes a checkpoint of one of the networks under MMAction2's names."""
    from actjax import localizing

    with _clear_errors():
        names = localizing.export_network(proposer, _stage(proposer), _OUT.value, workdir, which=_CHECKPOINT.value)
    log.info("%s: %d tensors", _OUT.value, len(names))


def _stage(proposer) -> str:
    """The network that `--stage` names; without it the only one."""
    networks = sorted(proposer.networks)
    if _STAGE.value is None and len(networks) == 1:
        return networks[0]
    if _STAGE.value not in networks:
        raise SystemExit(f"error: --stage={_STAGE.value}; choose from {networks}")
    return _STAGE.value


PROPOSER_MODES = {
    "train": propose,
    "eval": propose,
    "import": import_network,
    "export": export_network,
    "explain": explain_networks,
}


def detect(detector, config, workdir: pathlib.Path, started: float) -> None:
    """SSN: trains, or goes on where a killed run stopped; then scores all proposals and ends with the mAP table."""
    import jax

    from actjax import detecting, training
    from actjax.data.loading import Shard
    from actjax.data.quarantine import Quarantine
    from actjax.experiment.networks import initial_variables
    from actjax.localizing.folders import StageFolder
    from actjax.workdir import save_description

    log.info("this run lives in %s", workdir)
    learning = _MODE.value == "train"
    with _clear_errors():
        initial = initial_variables(detector.load_from, workdir) if learning else None
        dataset = detector.open_dataset()
        constants = detector.reg_norm_consts(dataset)
        workdir.mkdir(parents=True, exist_ok=True)
        data = detector.loop_data(dataset, workdir) if learning else None
    log.info("%d videos to train on, %d to score", len(dataset.train), len(dataset.val))
    if learning:
        save_description(workdir, config, dataset.class_names)
        log.info("parameter groups\n%s", detector.groups)
        training.train(detector.task, data, detector.optimizer, detector.settings, workdir, initial=initial)
    which = detector.checkpoint if learning or not flags.FLAGS["checkpoint"].present else _CHECKPOINT.value
    variables, step = _restore(detector, workdir, which)
    folder = StageFolder(workdir / "scores", f"step_{step}", detector.decisive, mend=True)
    folder.save()
    training.wait_for_all("the folder of scores")
    options = dict(num_records=len(dataset.train) + len(dataset.val), max_share=detector.loading.max_broken)
    summary = detecting.score_videos(
        dataset.val,
        folder.path,
        detector,
        training.local(variables),
        constants,
        quarantine=Quarantine(workdir / "quarantine.jsonl", **options, skip=detector.loading.skip),
        shard=Shard(jax.process_index(), jax.process_count()),
    )
    log.info("%s: %s, by the network of step %d", folder.path, summary, step)
    training.wait_for_all("scores")
    with _clear_errors():
        detecting.report(
            dataset, folder.path, detector, workdir, name="results" if learning else "results_eval", started=started
        )


DETECTOR_MODES = {"train": detect, "eval": detect, "import": import_, "export": export, "explain": explain}


@contextlib.contextmanager
def _clear_errors(*more: type[Exception]):
    """What the user can mend ends the program with its message alone, without a traceback."""
    try:
        yield
    except (ValueError, FileNotFoundError, FileExistsError, *more) as error:
        raise SystemExit(f"error: {error}") from error


def _parse_flags(argv: list[str]) -> list[str]:
    """The flags as absl parses them; ml_collections raises these for a config file or an override that is wrong."""
    try:
        return flags.FLAGS(argv)
    except (KeyError, AttributeError) as error:
        if "ml_collections" not in traceback.extract_tb(error.__traceback__)[-1].filename:
            raise  # out of the config file itself
        inner = error.args[0]
        what, *near = str(inner.args[0] if isinstance(inner, Exception) else inner).splitlines()
        what += ": no such key in the config, and only its keys can be overridden." if what.startswith("'") else ""
        raise SystemExit(" ".join([f"error: --config: {what}", *near])) from error
    except (flags.Error, ValueError, TypeError, OSError) as error:
        raise SystemExit(f"error: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What it says; of a config file that did not load, and is quoted with all that was tried, the last line."""
    text = str(error).strip()
    return text.splitlines()[-1].strip() if "Traceback" in text or "Failed loading config" in text else text


def _simulate(num_devices: int) -> None:
    """CPU devices in place of those there are, before jax looks for any."""
    import jax

    if _MODE.value != "explain":
        raise SystemExit("error: --devices is for --mode=explain")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", num_devices)


def _place() -> hosts.Place | None:
    """This process among those of `--distributed`; None: it is alone."""
    spec = _DISTRIBUTED.value or os.environ.get("ACTJAX_DISTRIBUTED")
    if not spec:
        return None
    with _clear_errors():
        place = hosts.find_place(spec, os.environ)
    if place.count == 1:
        return None
    if _MODE.value not in _OF_MANY:
        raise SystemExit(f"error: --mode={_MODE.value} is for one process; leave out --distributed={spec}")
    if not _WORKDIR.value:
        raise SystemExit(f"error: --distributed={spec} needs --workdir, the same folder for all processes")
    return place


def _link(place: hosts.Place | None) -> hosts.Link | None:
    """The connection to the other processes, once all have come."""
    if place is None:
        return None
    with _clear_errors(hosts.LinkError):
        return hosts.Link(place, timeout=hosts.timeout(os.environ))


def _workdir() -> pathlib.Path:
    if is_url(_WORKDIR.value or "") and not _WORKDIR.value.startswith("gs://"):  # all that orbax writes to
        raise ValueError(f"--workdir={_WORKDIR.value}: a run lives in a local folder or in gs://; copy it afterwards")
    if _MODE.value in _OF_A_RUN and not (_WORKDIR.value and to_path(_WORKDIR.value).is_dir()):
        raise SystemExit(
            f"error: --mode={_MODE.value} needs --workdir, the folder of a trained run; got {_WORKDIR.value}"
        )
    if _WORKDIR.value:
        return to_path(_WORKDIR.value)
    flag = flags.FLAGS["config"]
    name = pathlib.Path(flag.config_filename).stem if flag.present else "run"
    return pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def _config(workdir: pathlib.Path) -> config_dict.ConfigDict:
    """The config of `--config`, or the one that the run in `workdir` was trained with."""
    if _CONFIG.value is not None:
        try:
            return _CONFIG.value.copy_and_resolve_references()
        except OSError as error:  # of a file that did not load ml_collections tells whoever uses the config
            raise SystemExit(f"error: {_reason(error)}") from error
    saved = workdir / "config.json"
    if _MODE.value not in _OF_A_RUN and not saved.exists():
        raise SystemExit("error: --config=FILE is missing")
    if not saved.exists():
        raise SystemExit(f"error: no --config, and no {saved}")
    return config_dict.ConfigDict(json.loads(saved.read_text()))


def _tested(experiment):
    """Task and protocol of `--protocol`."""
    return experiment.test if _PROTOCOL.value == "test" else (experiment.task, experiment.protocol)


def _restore(experiment, workdir: pathlib.Path, which: str | None = None) -> tuple[dict, int]:
    """The variables of checkpoint `which`, by default that of `--checkpoint`, and its step."""
    from actjax import training

    with _clear_errors():
        return training.restore_variables(
            experiment.task, experiment.optimizer, experiment.settings, workdir, which or _CHECKPOINT.value
        )


def _finish(name: str, metrics: dict, dataset, experiment, workdir: pathlib.Path, started: float) -> None:
    from actjax.workdir import save_results

    gc.collect()  # jax gives the last batch's shared memory back only now; at exit it would count as leaked
    about = {
        "num_broken": len(dataset.val) - metrics["num_videos"],
        "bn": experiment.settings.bn,
        "batch_size": experiment.settings.batch_size,
        "seconds": time.perf_counter() - started,
    }
    save_results(workdir, name, metrics | about, dataset.class_names)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse_flags)
