"""SSN on new videos: proposals of another run or a file, their scores, and detections."""

import logging
import pathlib
from collections.abc import Mapping

import numpy as np

from actjax import training
from actjax.config.changes import digest_of_config
from actjax.data.datasets.records import VideoRecord
from actjax.data.datasets.ssn_lists import Instances, SSNRecord
from actjax.data.loading.quarantine import Quarantine
from actjax.errors import shown
from actjax.localization import ssn_detections
from actjax.metrics.matching import stem
from actjax.metrics.results import video_id
from actjax.paths import does_not_exist, to_path
from actjax.tasks.loading import digest_of_arrays, this_shard
from actjax.tasks.localizing import Located, files_of, read_clocks, read_facts, refuse
from actjax.tasks.recognition.extracting import stamp_of
from actjax.tasks.running import Call, names_of
from actjax.tasks.ssn.run import SsnRun
from actjax.tasks.ssn.scoring import Scorer, load_results, score_videos
from actjax.tasks.videos import distinct_names
from actjax.timelines import read_results
from actjax.video.clock import Clock

log = logging.getLogger("actjax")


def facts_of(targets) -> dict:
    """What localizing needs to know of the training data: the constants of the regression."""
    return {"reg_norm_consts": targets.reg_norm_consts}


def locate(run: SsnRun, call: Call) -> list[Located]:
    """The detections of new videos, best first, from proposals of the run or the file `call.proposals`.

    Raises:
      ValueError: no proposals were given, or they are of other videos. FileNotFoundError: no such video, run or file.
    """
    refuse(call, "SSN takes videos and proposals, --video=FILE --proposals=RUN", "features", "network")
    if not (call.proposals or run.data.get("proposed_by")):
        raise ValueError("SSN scores proposals of others: --proposals=RUN, of BSN, BMN, TSN or TSM, or a result file")
    facts = read_facts(call.workdir, lambda: facts_of(run.targets(run.open_dataset())))
    videos, out = files_of(call), pathlib.Path(call.out)
    unread = Quarantine(out / "quarantine.jsonl", num_records=len(videos), max_share=1.0)
    clocks = read_clocks(videos, timeout=run.loader.timeout, quarantine=unread)
    videos = [video for video in videos if video.path in clocks]
    proposals = _proposals(run, call, videos) if videos else {}
    names = dict(zip((v.path for v in videos), distinct_names([v.path for v in videos]), strict=True))
    given = [(names[v.path], v, clocks[v.path], proposals[v.path]) for v in videos if v.path in proposals]
    records = [_record(number, *each) for number, each in enumerate(given)]
    if not records:
        return []
    results = _scored(run, call, records, out, facts["reg_norm_consts"])
    options, classes = run.detect, names_of(call.config, call.workdir)
    found = ssn_detections(results, top_k=options.top_k, nms=options.nms, use_regression=options.use_regression)
    located = []
    for number, (name, video, clock, _) in enumerate(given):
        own = found.video == number
        segments = clock.seconds(found.segments[own] * clock.num_frames).tolist()
        columns = zip(segments, found.score[own].tolist(), found.label[own].tolist(), strict=True)
        rows = [{"segment": segment, "score": score, "class": classes[label]} for segment, score, label in columns]
        located.append(Located(name, video.path, clock.duration, sorted(rows, key=lambda row: -row["score"])))
    return located


def _proposals(run: SsnRun, call: Call, videos: list[VideoRecord]) -> dict[str, list[dict]]:
    """The proposals of each video in seconds, {path: rows}, from a result file or by another run."""
    path = to_path(call.proposals or run.data["proposed_by"])
    if not path.exists():
        hint = "" if call.proposals else ", which data.proposed_by names; if it has moved, give --proposals=RUN"
        raise FileNotFoundError(f"proposals: {does_not_exist(path)}{hint}")
    if path.is_dir():
        with call.load(path) as other:
            return other.propose([video.path for video in videos], out=pathlib.Path(call.out) / "proposals")
    rows = read_results(path)
    names = distinct_names([video.path for video in videos])
    stems = [stem(video.path) for video in videos]
    once = [own if stems.count(own) == 1 else name for own, name in zip(stems, names, strict=True)]
    named = [(v, {name, own}) for v, name, own in zip(videos, names, once, strict=True)]
    keys = lambda known: [each for name in sorted(known) for each in (name, video_id(name), f"v_{name}")]
    found = {v.path: rows[key] for v, known in named for key in keys(known) if key in rows}
    if not found:
        raise ValueError(f"--proposals={path}: has none of the videos, such as {shown(names[0])}")
    for video in videos:
        if video.path not in found:
            log.warning("%s: no proposals of %s; it is left out", path, shown(video.path))
    return found


def _record(number: int, name: str, video: VideoRecord, clock: Clock, rows: list[dict]) -> SSNRecord:
    """A video with its proposals, best first, in whole frames."""
    seconds = np.array([row["segment"] for row in rows], np.float64).reshape(-1, 2)
    segments = np.rint(clock.frames(seconds)).astype(np.int64).clip(0, clock.num_frames)
    segments = segments[segments[:, 1] > segments[:, 0]]
    return SSNRecord(
        number,
        name,
        clock.num_frames,
        video,
        _instances(number, clock, segments[:0]),
        _instances(number, clock, segments),
    )


def _instances(number: int, clock: Clock, segments: np.ndarray) -> Instances:
    """Segments without classes or truth."""
    n, zeros = len(segments), np.zeros(len(segments))
    coverage = (segments[:, 1] - segments[:, 0]) / clock.num_frames
    whole = lambda value: np.full(n, value, np.int64)
    return Instances(
        whole(number), whole(clock.num_frames), segments, whole(0), zeros, zeros, coverage, np.zeros((n, 2))
    )


def _scored(run: SsnRun, call: Call, records: list[SSNRecord], out: pathlib.Path, constants) -> list[Mapping]:
    """The scores of all proposals, which are kept in `OUT/scores`; hosts share the videos."""
    which = run.checkpoint if call.checkpoint is None else call.checkpoint
    variables = training.local(run.network.restore(call.workdir, which)[0])
    segments = {r.video: (stamp_of(r), r.proposals.segment.tolist()) for r in records}
    made_by = digest_of_config(
        {
            "network": digest_of_arrays(variables),
            "scored_by": run.scored_by,
            "proposals": segments,
            "constants": constants,
        }
    )
    constants = tuple(map(tuple, constants))
    scorer = Scorer(run.network.model, variables, run.ticks, constants, divide_parts=run.scoring.divide_parts)
    unread = Quarantine(out / "quarantine.jsonl", num_records=len(records), max_share=1.0)
    options = dict(quarantine=unread, timeout=run.loader.timeout, shard=this_shard(), made_by=made_by)
    score_videos(records, out / "scores", scorer, **options)
    training.wait_for_all("the scores")
    return load_results(records, out / "scores", run.network.model.num_classes, made_by=made_by)
