"""A trained recogniser that makes the features of localization."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from actjax import training
from actjax.config import plain
from actjax.data.clips.snippets import Snippets
from actjax.data.loading.quarantine import Quarantine
from actjax.data.loading.snippet_reader import Summary
from actjax.models import embedding
from actjax.paths import absolute
from actjax.tasks.loading import digest_of_arrays, this_shard
from actjax.tasks.recognition.extracting import extract_features, join_info, note_origin
from actjax.tasks.recognition.run import RecognitionRun
from actjax.tasks.stage_folder import compared
from actjax.training.devices import Chunks


class Extractor(NamedTuple):
    """Turns videos into features, as the section `extract` of its run says.

    embed: clips uint8 [chunk, v, t, h, w, c] -> float32 [chunk, d].
    origin: what the features depend on, the network and the config of its clips.
    about: the run that the network is from, its step and protocol, and the class of every logit; for `extraction.json`.
    """

    snippets: Snippets
    embed: Callable
    suffix: str
    timeout: float
    origin: dict
    about: dict

    def extract(self, records: Sequence, folder: pathlib.Path, *, progress: Callable) -> Summary:
        """Writes the features of videos to `folder`, resuming where a killed run stopped; all hosts share the videos.

        Raises:
          ValueError: the folder holds features of another network, config or video. Others as `extract_features`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        note_origin(folder, self.origin, about=self.about)
        training.wait_for_all("the note about the features")  # no host may begin a table before process 0 has looked
        summary = extract_features(
            records,
            folder,
            self.snippets,
            self.embed,
            quarantine=Quarantine(folder / "quarantine.jsonl", num_records=len(records), max_share=1.0),
            suffix=self.suffix,
            shard=this_shard(),
            timeout=self.timeout,
            progress=progress,
        )
        training.wait_for_all("features")
        if jax.process_index() == 0:
            join_info(folder)
        training.wait_for_all("the table of features")
        return summary


def make_extractor(
    run: RecognitionRun,
    config,
    variables: dict,
    *,
    workdir: pathlib.Path,
    step: int,
    class_names: Sequence[str],
    protocol: str = "test",
) -> Extractor:
    """The extractor of a trained run. Chunks of clips are split over this host's devices.

    Args:
      config: of the run. variables: of its checkpoint `step`, on this host.
      protocol: the config section that describes the clips, "test" or "eval".
    """
    options, clips = run.extraction, run.tested(protocol).clips
    chunks = Chunks(variables, options.chunk)
    network = jax.jit(functools.partial(embedding, run.network.model, what=options.what))
    return Extractor(
        Snippets(clips, options.interval, options.num_frames, chunks.size, options.window),
        lambda clips: network(chunks.variables, chunks.put(clips)),
        options.suffix,
        run.loader.timeout,
        origin=_origin(run, config, variables, protocol),
        about={
            "source": {"workdir": str(absolute(workdir)), "step": step, "protocol": protocol},
            "class_names": list(class_names) if options.what == "scores" else [],
            "multi_label": run.multi_label,
            "suffix": options.suffix,
        },
    )


def num_channels(run: RecognitionRun, what: str) -> int:
    """How many numbers a feature has, "scores" or "embedding"; without any weights."""
    variables = jax.eval_shape(run.network.task.init, jax.random.key(0))
    clips = jax.ShapeDtypeStruct((1, *run.test.clips.clip_shape), np.uint8)
    features = functools.partial(embedding, run.network.model, what=what)
    return jax.eval_shape(features, variables, clips).shape[-1]


def _origin(run: RecognitionRun, config, variables: dict, protocol: str) -> dict:
    options = {name: getattr(run.extraction, name) for name in ("interval", "num_frames", "what", "window")}
    return {"network": digest_of_arrays(variables), **network_sections(config, protocol, extract=options)}


def network_sections(config, protocol: str, **further: dict) -> dict:
    """The sections of a config on which a network's outputs depend, and further ones, in the form to compare them.

    Args:
      protocol: the section that describes the clips, "test" or "eval".
    """
    section = protocol if config.get(protocol) else "eval"
    clips = {key: value for key, value in plain(config[section]).items() if key != "clips_at_once"}
    return compared({"model": config.model, section: clips, **further}, {})
