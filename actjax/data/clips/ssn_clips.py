"""Records with proposals -> the clips of SSN: of sampled proposals for training, along the whole video for testing.

Shapes: p proposals of an item, s segments (clips before, inside and after a proposal), n clips of a video, v crops,
t frames, h w pixels, c channels.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from actjax.data.clips.snippets import clips_along, clips_of
from actjax.data.clips.spec import Clip
from actjax.data.clips.ssn_assignment import (
    Assigned,
    EvalItem,
    Sampler,
    eval_item,
    sample_proposals,
    training_item,
)
from actjax.data.datasets.ssn_lists import SSNRecord
from actjax.data.seeding import generator
from actjax.errors import check_number
from actjax.video.errors import VideoError
from actjax.video.ssn_sampling import sample_proposal_frames


class ProposalSampling(NamedTuple):
    """Config section `sample`: the position and content of clips.

    clip_len, frame_interval, body_segments, aug_segments, aug_ratio, test_interval: see
      `video.sampling.sample_proposal_frames`.
    backend, fused, modality, stack: as in `spec.ClipSpec`; a clip has clip_len / stack frames.
    """

    clip_len: int = 1
    frame_interval: int = 1
    body_segments: int = 5
    aug_segments: tuple[int, int] = (2, 2)
    aug_ratio: float | tuple[float, float] = (0.5, 0.5)
    test_interval: int = 6
    backend: str | tuple[str, ...] = "pyav"
    fused: bool = True
    modality: str = "RGB"
    stack: int = 1

    @property
    def segments(self) -> tuple[int, int, int]:
        """Numbers of clips before, inside and after a proposal."""
        before, behind = self.aug_segments
        return before, self.body_segments, behind

    @property
    def geometry(self) -> dict:
        """The options that the functions of `data.clips.ssn_assignment` need."""
        return {name: getattr(self, name) for name in ("aug_ratio", "clip_len", "frame_interval")}

    def clip_shape(self, view: Callable, rng) -> tuple[int, int, int, int]:
        """(t, h, w, c) of a clip. ValueError: `stack` does not divide `clip_len`, or is below 1."""
        check_number("sample.stack", self.stack, "[1, inf)", whole=True)
        if self.clip_len % self.stack:
            raise ValueError(f"sample.stack={self.stack} does not divide sample.clip_len={self.clip_len}")
        size = view(480, 640, rng=rng)[0].size
        return (self.clip_len // self.stack, *size, self.stack * (3 if self.modality == "RGB" else 2))

    def train_indices(self, num_frames, proposals, *, u) -> np.ndarray:
        """Frames of proposals [p, s, clip_len]; clips lie in the middle of their parts if `u` is None."""
        return self._frames(num_frames, proposals, mode="val" if u is None else "train", u=u)

    def test_indices(self, num_frames: int) -> np.ndarray:
        """Frames of clips along the whole video [n, clip_len]. ValueError: the video is too short for a clip."""
        return self._frames(num_frames, None, mode="test", test_interval=self.test_interval)

    def _frames(self, num_frames, proposals, **options) -> np.ndarray:
        segments = dict(body_segments=self.body_segments, aug_segments=self.aug_segments)
        return sample_proposal_frames(num_frames, proposals, **segments, **self.geometry, **options)


class ProposalSpec(NamedTuple):
    """How a record becomes an item: proposals of each type are sampled, then clips of each proposal.

    view: (height, width, rng=) -> one crop, the same for all clips of an item.
    sampler, video_centric: see `data.clips.ssn_assignment.sample_proposals`.
    test: whether clips lie in the middle of their parts; the proposals of an item then never change.
    """

    sampling: ProposalSampling
    view: Callable
    sampler: Sampler
    video_centric: bool = True
    test: bool = False

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """(p, s, t, h, w, c) of every item."""
        rng = None if self.test else np.random.default_rng(0)
        of_clip = self.sampling.clip_shape(self.view, rng)
        return (self.sampler.num_per_video, sum(self.sampling.segments), *of_clip)

    def blank(self) -> dict[str, np.ndarray]:
        """The labels of an item, all 0."""
        p = self.sampler.num_per_video
        numbers, pairs = np.zeros(p, np.int32), np.zeros((p, 2), np.float32)
        return dict(reg_targets=pairs, proposal_labels=numbers, proposal_type=numbers, proposal_scale_factor=pairs)


class ProposalClips(NamedTuple):
    """The items of a split.

    spec: how a record becomes an item.
    assigned: the records and their proposals by type; a video borrows proposals of types that it lacks.
    reg_norm_consts: see `data.clips.ssn_assignment.training_item`.
    """

    spec: ProposalSpec
    assigned: Assigned
    reg_norm_consts: tuple

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """(p, s, t, h, w, c) of every item."""
        return self.spec.clip_shape

    def read(self, record: SSNRecord, *, rngs: Callable, out: np.ndarray | None = None) -> Clip:
        """An item: pixels uint8 [p, s, t, h, w, c], and labels under MMAction2 0.6's names.

        Raises:
          VideoError: a video that its proposals come from cannot be decoded; names that video.
        """
        item = self.draw(record, rngs("proposals") or generator(0, "validation", record.number))
        totals = np.array([self.assigned.records[k].num_frames for k in item["video"]])
        rng = rngs("sample")
        shape = (len(totals), sum(self.spec.sampling.segments))
        u = None if rng is None else rng.random(shape, dtype=np.float32)
        indices = self.spec.sampling.train_indices(totals, item["out_proposals"], u=u)
        pixels = np.empty(self.clip_shape, np.uint8) if out is None else out
        for k in np.unique(item["video"]):
            rows = item["video"] == k
            pixels[rows] = self._clips(self.assigned.records[k], indices[rows], rngs("view"))
        names = ("reg_targets", "proposal_labels", "proposal_type", "proposal_scale_factor")
        labels = {name: item[name] for name in names}
        labels = {name: x.astype(np.int32) if x.dtype == np.int64 else x for name, x in labels.items()}
        return Clip(pixels, labels, indices, [])

    def draw(self, record: SSNRecord, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The proposals of an item; see `data.clips.ssn_assignment.training_item`."""
        own = self.assigned.of(record.number)
        u = rng.random(self.spec.sampler.num_per_video)
        drawn = sample_proposals(
            own, self.assigned.pools, self.spec.sampler, u=u, video_centric=self.spec.video_centric
        )
        return training_item(drawn, reg_norm_consts=self.reg_norm_consts, **self.spec.sampling.geometry)

    def blank(self, record: SSNRecord) -> dict[str, np.ndarray]:
        """The labels of an item, all 0."""
        return self.spec.blank()

    def _clips(self, record: SSNRecord, indices: np.ndarray, rng) -> np.ndarray:
        video = record.open(backend=self.spec.sampling.backend)
        rows = np.minimum(indices, video.num_frames - 1).reshape(-1, self.spec.sampling.clip_len)
        clips = clips_of(video, rows, self.spec.view, self.spec.sampling, rng=rng)[:, 0]
        return clips.reshape(*indices.shape[:2], *clips.shape[1:])


class Ticks(NamedTuple):
    """Clips along the whole video, one every `sampling.test_interval` frames, each in all crops.

    sampling, view: as in `ProposalSpec`, `view` in test-time form. chunk: number of clips decoded at a time.
    """

    sampling: ProposalSampling
    view: Callable
    chunk: int = 16

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """(v, t, h, w, c) of a clip."""
        return (len(self.view(480, 640, rng=None)), *self.sampling.clip_shape(self.view, None))

    def read(self, record: SSNRecord) -> Iterator:
        """Yields the `Length` of a video, then its clips, uint8 [n, v, t, h, w, c], at most `chunk` at a time.

        Raises:
          VideoError: the video cannot be decoded, or is too short.
        """
        video = record.open(backend=self.sampling.backend)
        try:
            indices = self.sampling.test_indices(record.num_frames)
        except ValueError as error:
            raise VideoError(record.path, str(error)) from error
        indices = np.minimum(indices, video.num_frames - 1)
        yield from clips_along(video, indices, self.view, self.sampling, chunk=self.chunk)

    def item(self, record: SSNRecord) -> EvalItem:
        """The proposals of a video with their positions in clips; see `data.clips.ssn_assignment.eval_item`."""
        return eval_item(record, test_interval=self.sampling.test_interval, **self.sampling.geometry)
