"""The modes of recognition: TSN, TSM."""

import contextlib
import gc
import json
import logging
import pathlib
import shlex

import jax
import numpy as np
from rich.text import Text

from actjax import training
from actjax.data.clips.spec import ClipSpec
from actjax.data.datasets.annotations import save_annotations
from actjax.data.datasets.records import decoder_of
from actjax.data.loading.checking import scan
from actjax.data.prepared.reading import find_damaged
from actjax.errors import clear_errors
from actjax.literal import literal
from actjax.paths import naming, to_path
from actjax.showing import Table, show
from actjax.tasks.localize_mode import mode
from actjax.tasks.recognition.browsing import contact_sheet, save_png
from actjax.tasks.recognition.extractor import make_extractor
from actjax.tasks.recognition.localizing import locate
from actjax.tasks.recognition.run import RecognitionRun
from actjax.tasks.recognition.settling import keep_split
from actjax.tasks.recognition.trained import make_predictor
from actjax.tasks.running import (
    Call,
    check_names,
    explain,
    export,
    fitting,
    import_,
    known_results,
    names_of,
    restored,
)
from actjax.tasks.videos import records_of
from actjax.workdir import progress, save_description, save_results
from actjax.writable import check_target

log = logging.getLogger("actjax")


def train(run: RecognitionRun, call: Call) -> dict:
    """Trains, resuming where a killed run stopped, and prints the table of results -> the results."""
    log.info("workdir: %s", call.workdir)
    with clear_errors(), fitting(call.config, call.workdir):
        initial = run.network.initial(call.workdir)
        run = keep_split(run, call.workdir)
        dataset = run.open_dataset()
        data = run.loop_data(dataset, call.workdir)
        standing, complete = run.network.standing(call.workdir, data)
        if complete:
            check_names(dataset.class_names, call.workdir)
        if complete and (results := known_results(call, standing)):
            return results
    log.info("%d videos to train on, %d to validate on", len(dataset.train), len(dataset.val))
    decoder = decoder_of(dataset.train[0], run.train_clips.backend)
    describe = lambda: save_description(call.workdir, call.config, dataset.class_names, decoder=decoder)
    with fitting(call.config, call.workdir):
        metrics = run.train(call.workdir, data=data, initial=initial, describe=describe, standing=standing)
    return _finish("results", metrics, dataset, run.eval_clips, run, call)


def evaluate(run: RecognitionRun, call: Call) -> dict:
    """Evaluates a checkpoint on the validation set and saves the scores of every video -> the results."""
    variables, step = restored(run, call)
    with clear_errors():
        dataset = run.open_dataset()
    check_names(dataset.class_names, call.workdir)
    metrics = {"step": step, **run.evaluate(call.workdir, variables, dataset=dataset, protocol=call.protocol)}
    metrics["num_broken"] = len(dataset.val) - metrics["num_videos"]
    return _finish("results_eval", metrics, dataset, run.tested(call.protocol).clips, run, call)


def _finish(name: str, metrics: dict, dataset, clips: ClipSpec, run: RecognitionRun, call: Call) -> dict:
    """Writes and prints the results."""
    gc.collect()  # JAX frees the last batch's shared memory only now; at exit it would be reported as leaked
    about = {
        "decoder": decoder_of(dataset.val[0], clips.backend),
        "bn": run.network.settings.bn,
        "batch_size": run.network.settings.batch_size,
        "seconds": call.seconds,
    }
    save_results(call.workdir, name, metrics | about, dataset.class_names)
    return metrics | about


def predict(run: RecognitionRun, call: Call) -> None:
    """The likeliest classes of a video file, or of every file in a folder, as a table and as JSON lines."""
    table = Table("video", "class", "score")
    path = to_path(call.out) if call.out else call.workdir / "predictions.jsonl"
    with clear_errors(), contextlib.ExitStack() as stack:
        if path.suffix != ".jsonl" or path.is_dir():
            raise ValueError(f"--out={path}: predictions are JSON lines; give a file whose name ends in .jsonl")
        check_target(path)
        names = names_of(call.config, call.workdir)
        variables, step = restored(run, call)
        variables = training.local(variables)
        predictor = stack.enter_context(
            contextlib.closing(make_predictor(run, variables, names, protocol=call.protocol))
        )
        records = records_of(call.video)
        path.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(naming(path))
        file = None
        for row in predictor.rows(records, topk=call.topk):
            file = file or stack.enter_context(path.open("w"))  # earlier predictions stay until there is one
            file.write(json.dumps(row) + "\n")
            if "error" in row:
                table.add_row(row["video"], Text("cannot be decoded", style="red"), row["error"])
            for rank, best in enumerate(row.get("predictions", ())):
                table.add_row("" if rank else row["video"], best["class"], f"{best['score']:.4f}")
    show(table)
    show(f"checkpoint   step {step}")
    show(f"predictions  {path}")


def extract(run: RecognitionRun, call: Call) -> None:
    """Writes features of `--video`, or of the config's videos, to `--out`, resuming where a killed run stopped."""
    out = pathlib.Path(call.out)
    variables, step = restored(run, call)
    with clear_errors(RuntimeError):
        if call.video:
            records = records_of(call.video)
        else:
            dataset = run.open_dataset()
            records = [*dataset.train, *dataset.val]
        options = dict(workdir=call.workdir, step=step, class_names=names_of(call.config, call.workdir))
        extractor = make_extractor(run, call.config, training.local(variables), protocol=call.protocol, **options)
        summary = extractor.extract(records, out, progress=progress)
    log.info("%s: %s, by the network of step %d", out, summary, step)


def import_run(run: RecognitionRun, call: Call) -> None:
    """Turns another program's checkpoint into a run, which keeps the split of a folder of classes."""
    with clear_errors():
        run = keep_split(run, call.workdir)
    import_(run, call)


def check(run: RecognitionRun, call: Call) -> None:
    """Decodes every video of both splits, lists the broken ones, and writes lists of the others."""
    with clear_errors():
        lenient = run.loader._replace(max_broken=1.0)  # missing files are listed, too
        dataset = run._replace(loader=lenient).open_dataset()
    call.workdir.mkdir(parents=True, exist_ok=True)
    options = dict(num_workers=run.loader.num_workers, timeout=run.loader.timeout)
    broken, lists = call.workdir / "broken.jsonl", {}
    with broken.open("w") as file:
        for split, clips in (("train", run.train_clips), ("val", run.eval_clips)):
            records, clean = getattr(dataset, split), []
            damaged = find_damaged(records)  # warns of each shard
            for path, fault in damaged.items():
                file.write(json.dumps({"path": path, "reason": fault, "split": split}) + "\n")
            rest = [record for record in records if record.path not in damaged]
            findings = progress(scan(rest, backend=clips.backend, **options), len(rest), split)
            for record, (fault, remark) in zip(rest, findings, strict=True):
                if fault is None:
                    clean.append(record)
                else:
                    file.write(json.dumps({"path": record.path, "reason": fault, "split": split}) + "\n")
                if fault or remark:
                    log.warning("%s: %s", literal(record.path, lines=False), fault or remark)
            lists[split] = call.workdir / f"{split}_clean.csv"
            save_annotations(clean, lists[split])
            log.info("%s: %d of %d videos are sound: %s", split, len(clean), len(records), lists[split])
    log.info("unreadable files: %s; a config can name it as loader.skip", broken)


def prepare(run: RecognitionRun, call: Call) -> None:
    """Writes both splits to `--out` as sharded ArrayRecord, resuming where a killed run stopped."""
    with clear_errors(RuntimeError):
        dataset = run.open_dataset()
        for split in ("train", "val"):
            records = getattr(dataset, split)
            summary = run.prepare(records, call.out, split=split, class_names=dataset.class_names, progress=progress)
            log.info("%s: %s", split, summary)
    more = " --config.data.multi_class=True" if run.multi_label else ""
    folder = shlex.quote(f"--config.data.folder={call.out}")
    log.info("train from it with --config=CONFIG --config.data.name=prepared %s%s", folder, more)


def browse(run: RecognitionRun, call: Call) -> None:
    """Draws the first training clips as the network sees them."""

    def augmented(video, position: int):
        nothing = np.zeros((len(video), len(dataset.class_names)), np.float32)
        return np.asarray(run.augment(video, nothing, jax.random.key(position))[0])

    with clear_errors():
        dataset = run.open_dataset()
        sheet = contact_sheet(
            dataset.train,
            run.train_clips,
            dataset.class_names,
            num=call.num,
            seed=run.network.settings.seed,
            timeout=run.loader.timeout,
            augment=augmented if run.augment else None,
        )
    save_png(call.workdir / "browse.png", sheet)
    log.info("%d clips: %s", call.num, call.workdir / "browse.png")


MODES = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "localize": mode(locate, shown_share=0.0),
    "extract": extract,
    "import": import_run,
    "export": export,
    "check": check,
    "explain": explain,
    "prepare": prepare,
    "browse": browse,
}
