"""Mutated copies of real videos through the loader: no hang, no crash of the run, every broken file named once."""

import functools
import json

import numpy as np
import pytest

from actjax.data import stages
from actjax.data.annotations import VideoRecord
from actjax.data.loading import Loader, Quarantine, train_batches

PROTOCOL = stages.Protocol(
    functools.partial(stages.sample_frames, num_clips=4),
    functools.partial(stages.multi_scale, short_side=45, size=40, scales=(1,), flip_ratio=0.5),
)
SOURCES = ("part_0.mp4", "test.avi", "broken/video_90.mov", "broken/unordered.mov")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    data = np.frombuffer(content, np.uint8).copy()
    kind = rng.integers(7)
    if kind == 0:
        return content[: rng.integers(len(content))]
    if kind == 1:
        data[rng.integers(len(data), size=20)] ^= np.uint8(1 << rng.integers(8))
    elif kind == 2:
        data[: rng.integers(1, 400)] = 0
    elif kind == 3:
        data[rng.integers(len(data)) :] = 0
    elif kind == 4:
        data[: min(2000, len(data))] ^= rng.integers(2, size=min(2000, len(data)), dtype=np.uint8)
    elif kind == 5:
        return rng.bytes(rng.integers(3000))
    else:
        return b"this is text\n" * rng.integers(50)
    return data.tobytes()


@pytest.mark.parametrize("backend", ["decord", "pyav", "opencv"])
@pytest.mark.parametrize("num", [24, pytest.param(500, marks=pytest.mark.slow)])
def test_broken_files_never_end_a_run(media, tmp_path, backend, num):
    rng = np.random.default_rng(num)
    records = [VideoRecord(str(media / "part_0.mp4"), 0)] * 4
    for k in range(num):
        name = SOURCES[k % len(SOURCES)]
        path = tmp_path / f"{k}{name[-4:]}"
        path.write_bytes(mutated((media / name).read_bytes(), rng))
        records.append(VideoRecord(str(path), 1))
    quarantine = Quarantine(tmp_path / "quarantine.jsonl", num_records=len(records), max_share=1.0)
    steps = -(-len(records) // 4)
    options = dict(seed=0, batch_size=4, first_step=0, num_steps=steps, loader=Loader(2, timeout=3.0))
    taken = list(train_batches(records, PROTOCOL._replace(backend=backend), quarantine=quarantine, **options))
    assert [batch["video"].shape for batch in taken] == [(4, 1, 4, 40, 40, 3)] * steps
    rows = [json.loads(line) for line in quarantine.path.read_text().splitlines()]
    named = [row["path"] for row in rows]
    assert len(named) == len(set(named)) and all(row["reason"] for row in rows)
    used = {records[k].path for batch in taken for k in batch["record"].tolist()}
    # Every record had its turn once: it was used, or it is named; a file broken in part can be both.
    assert used | set(named) == {record.path for record in records}
    assert len(used & set(named)) < 0.1 * num
    assert 0.3 * num < len(named) < num
