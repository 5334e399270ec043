"""The modes of recognition: TSN, TSM."""

import json
import logging
import pathlib

import jax
import numpy as np
import rich
from rich.table import Table

from actjax import training
from actjax.data.clips.snippets import Snippets
from actjax.data.datasets.annotations import save_annotations
from actjax.data.datasets.records import VideoRecord
from actjax.data.loading.checking import scan
from actjax.data.loading.quarantine import Quarantine
from actjax.errors import clear_errors
from actjax.models import embedding
from actjax.tasks.building import initial_variables
from actjax.tasks.checkpoints import explain, export, import_
from actjax.tasks.loading import this_shard
from actjax.tasks.recognition.browsing import contact_sheet, save_png
from actjax.tasks.recognition.extracting import extract_features, join_info
from actjax.tasks.recognition.predicting import predict_files, video_files
from actjax.tasks.running import Call, finish, restore, tested
from actjax.workdir import progress, save_description, save_scores

log = logging.getLogger("actjax")


def train(experiment, call: Call) -> None:
    """Trains, or goes on where a killed run stopped, and ends with the table of results."""
    log.info("this run lives in %s", call.workdir)
    with clear_errors():
        initial = initial_variables(experiment.load_from, call.workdir)
        dataset = experiment.open_dataset()
    decoder = dataset.train[0].decoder(experiment.train_protocol.backend)
    save_description(call.workdir, call.config, dataset.class_names, decoder=decoder)
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    log.info("parameter groups\n%s", experiment.groups)
    data = experiment.loop_data(dataset, call.workdir)
    metrics = training.train(
        experiment.task, data, experiment.optimizer, experiment.settings, call.workdir, initial=initial
    )
    finish("results", metrics, dataset, experiment, call)


def evaluate(experiment, call: Call) -> None:
    """Evaluates a checkpoint on the validation set, and keeps every video's scores."""
    variables, step = restore(experiment, call)
    task, protocol = tested(experiment, call)
    with clear_errors():
        dataset = experiment.open_dataset()
    passes = experiment.loop_data(dataset, call.workdir, eval=protocol).evaluate()
    outputs, targets = training.collect(jax.jit(task.predict), variables, next(passes))
    passes.close()
    names = [dataset.val[k].path for k in targets["record"]]
    save_scores(call.workdir / "scores.npz", names, outputs["scores"], targets["label"])
    metrics = {"step": step, "protocol": call.protocol, **task.score(outputs, targets), "num_videos": len(names)}
    finish("results_eval", metrics, dataset, experiment, call)


def predict(experiment, call: Call) -> None:
    """The five best classes of one video file, or of every file in a folder, as a table and as JSON lines."""
    variables, _ = restore(experiment, call)
    task, protocol = tested(experiment, call)
    names = json.loads((call.workdir / "class_names.json").read_text())
    table = Table("video", "class", "score")
    path = call.workdir / "predictions.jsonl"
    with clear_errors(), path.open("w") as file:
        for row in predict_files(call.video, protocol, jax.jit(task.predict), variables, names):
            file.write(json.dumps(row) + "\n")
            if "error" in row:
                table.add_row(row["video"], "[red]cannot be decoded", row["error"])
            for rank, best in enumerate(row.get("predictions", ())):
                table.add_row("" if rank else row["video"], best["class"], f"{best['score']:.4f}")
    rich.print(table)
    rich.print(f"predictions  {path}")


def extract(experiment, call: Call) -> None:
    """Writes features of `--video`, or of the videos of the config, to `--out`, or goes on where it stopped."""
    variables, step = restore(experiment, call)
    options, loading = experiment.extraction, experiment.loading
    out = pathlib.Path(call.out)
    with clear_errors(RuntimeError):
        if call.video:
            records = [VideoRecord(str(file)) for file in video_files(call.video)]
        else:
            dataset = experiment.open_dataset()
            records = [*dataset.train, *dataset.val]
        out.mkdir(parents=True, exist_ok=True)
        variables = training.local(variables)
        snippets = Snippets(tested(experiment, call)[1], options.interval, options.num_frames, options.chunk)
        embed = jax.jit(lambda variables, clips: embedding(experiment.model, variables, clips, what=options.what))
        summary = extract_features(
            records,
            out,
            snippets,
            lambda clips: embed(variables, clips),
            quarantine=Quarantine(out / "quarantine.jsonl", num_records=len(records), max_share=1.0),
            suffix=options.suffix,
            shard=this_shard(),
            timeout=loading.timeout,
            progress=progress,
        )
    training.wait_for_all("features")
    if jax.process_index() == 0:
        join_info(out)
    log.info("%s: %s, by the network of step %d", out, summary, step)


def check(experiment, call: Call) -> None:
    """Decodes every video of both splits: what cannot be decoded is listed, the rest becomes a clean list."""
    with clear_errors():
        dataset = experiment.open_dataset()
    call.workdir.mkdir(parents=True, exist_ok=True)
    options = dict(num_workers=experiment.loading.num_workers, timeout=experiment.loading.timeout)
    broken, lists = call.workdir / "broken.jsonl", {}
    with broken.open("w") as file:
        for split, protocol in (("train", experiment.train_protocol), ("val", experiment.protocol)):
            records, clean = getattr(dataset, split), []
            findings = progress(scan(records, backend=protocol.backend, **options), len(records), split)
            for record, (fault, remark) in zip(records, findings, strict=True):
                if fault is None:
                    clean.append(record)
                else:
                    file.write(json.dumps({"path": record.path, "reason": fault, "split": split}) + "\n")
                if fault or remark:
                    log.warning("%s: %s", record.path, fault or remark)
            lists[split] = call.workdir / f"{split}_clean.csv"
            save_annotations(clean, lists[split])
            log.info("%s: %d of %d videos are sound: %s", split, len(clean), len(records), lists[split])
    log.info("files that cannot be read: %s, for loader.skip of a config", broken)


def prepare(experiment, call: Call) -> None:
    """Writes both splits to `--out` as sharded ArrayRecord; goes on where a killed run stopped."""
    with clear_errors(RuntimeError):
        dataset = experiment.open_dataset()
        for split in ("train", "val"):
            records = getattr(dataset, split)
            summary = experiment.prepare(
                records, call.out, split=split, class_names=dataset.class_names, progress=progress
            )
            log.info("%s: %s", split, summary)
    log.info("train from it with --config=CONFIG:prepared=%s, or data=dict(name='prepared', folder=...)", call.out)


def browse(experiment, call: Call) -> None:
    """Draws the first clips of training as the network sees them."""

    def augmented(video, position: int):
        nothing = np.zeros((len(video), len(dataset.class_names)), np.float32)
        return np.asarray(experiment.augment(video, nothing, jax.random.key(position))[0])

    with clear_errors():
        dataset = experiment.open_dataset()
        sheet = contact_sheet(
            dataset.train,
            experiment.train_protocol,
            dataset.class_names,
            num=call.num,
            seed=experiment.settings.seed,
            timeout=experiment.loading.timeout,
            augment=augmented if experiment.augment else None,
        )
    save_png(call.workdir / "browse.png", sheet)
    log.info("%d clips: %s", call.num, call.workdir / "browse.png")


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
