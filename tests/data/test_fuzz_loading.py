"""Mutated copies of real videos through the loader: no hang, no crash of the run, every broken file named once."""

import functools
import json

import cv2
import numpy as np
import pytest

from actjax.data.clips import spec, transforms
from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.data.loading.batches import Loader, train_batches
from actjax.data.loading.quarantine import Quarantine
from actjax.data.prepared.reading import load_prepared
from actjax.data.prepared.writing import prepare

PROTOCOL = spec.ClipSpec(
    functools.partial(transforms.sample_frames, num_clips=4),
    functools.partial(transforms.multi_scale, short_side=45, size=40, scales=(1,), flip_ratio=0.5),
)
SOURCES = ("part_0.mp4", "test.avi", "broken/video_90.mov", "broken/unordered.mov")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Truncated, with flipped bits, a header or the end zeroed, noise in the header; noise alone, text, nothing."""
    data = np.frombuffer(content, np.uint8).copy()
    kind = rng.integers(8)
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
    elif kind == 6:
        return b"this is text\n" * rng.integers(50)
    else:
        return b""
    return data.tobytes()


def mutants(media, folder, num, rng):
    """Records of `num` mutated copies; every tenth is whole, but has the ending of something else."""
    records = []
    for k in range(num):
        name = SOURCES[k % len(SOURCES)]
        content = (media / name).read_bytes()
        path = folder / (f"{k}{name[-4:]}" if k % 10 else f"{k}{rng.choice(['.jpg', '.txt', '.mkv', ''])}")
        path.write_bytes(mutated(content, rng) if k % 10 else content)
        records.append(VideoRecord(str(path), 1))
    return records


NUM = [24, pytest.param(200, marks=pytest.mark.slow)]
BACKENDS = [("decord", 24), ("opencv", 24), ("pyav", 24), pytest.param("pyav", 200, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("backend", "num"), BACKENDS)
def test_broken_files_never_end_a_run(media, tmp_path, backend, num):
    records = [VideoRecord(str(media / "part_0.mp4"), 0)] * 4
    records += mutants(media, tmp_path, num, np.random.default_rng(num))
    check_run(records, PROTOCOL._replace(backend=backend), tmp_path)


@pytest.mark.parametrize(("backend", "num"), BACKENDS)
def test_broken_files_are_left_out_of_a_prepared_set(media, tmp_path, backend, num):
    records = mutants(media, tmp_path, num, np.random.default_rng(num))
    names = dict(class_names=["a", "b"], split="train", short_side=32)
    summary = prepare(records, tmp_path / "out", processes=2, timeout=3.0, backend=backend, **names)
    rows = [json.loads(line) for line in (tmp_path / "out" / "train_broken.jsonl").read_text().splitlines()]
    named, used = {row["path"] for row in rows}, {record.name for record in load_prepared(tmp_path / "out", "train")}
    assert len(named) == len(rows) == summary.num_broken and 0.3 * num < len(named) < num
    assert named | {str(tmp_path / name) for name in used} == {record.path for record in records}


@pytest.mark.parametrize("modality", ["RGB", "Flow"])
@pytest.mark.parametrize("num", NUM)
def test_broken_pictures_never_end_a_run(tmp_path, modality, num):
    rng = np.random.default_rng(num)
    shape, template = ((48, 64, 3), "img_{:05}.jpg") if modality == "RGB" else ((48, 64), "{}_{:05}.jpg")
    names = [""] if modality == "RGB" else ["x", "y"]
    picture = lambda: cv2.imencode(".jpg", rng.integers(256, size=shape, dtype=np.uint8))[1].tobytes()
    records = []
    for k in range(num + 4):
        folder = tmp_path / f"{k}"
        folder.mkdir()
        for frame in range(1, 6):
            for name in names:
                (folder / template.format(*filter(None, (name, frame)))).write_bytes(picture())
        if k >= 4:
            victim = sorted(folder.iterdir())[rng.integers(5)]
            if k % 5:
                victim.write_bytes(mutated(picture(), rng))
            elif k % 2:
                victim.unlink()
            else:  # a picture of another size
                victim.write_bytes(cv2.imencode(".jpg", np.zeros((40, *shape[1:]), np.uint8))[1].tobytes())
        records.append(RawframesRecord(str(folder), 5, 0, filename_tmpl=template, modality=modality))
    sample = functools.partial(transforms.sample_frames, num_clips=1, clip_len=5)
    check_run(records, PROTOCOL._replace(sample=sample, modality=modality), tmp_path)


def check_run(records, protocol, folder):
    """One pass over the records, most of them broken: it ends, with whole batches, and names each broken one once."""
    num = len(records)
    quarantine = Quarantine(folder / "quarantine.jsonl", num_records=num, max_share=1.0)
    steps = -(-num // 4)
    options = dict(seed=0, batch_size=4, position=0, num_batches=steps, loader=Loader(2, timeout=3.0))
    taken = list(train_batches(records, protocol, quarantine=quarantine, **options))
    assert [batch["video"].shape for batch in taken] == [(4, *protocol.clip_shape)] * steps
    rows = [json.loads(line) for line in quarantine.path.read_text().splitlines()]
    named = [row["path"] for row in rows]
    assert len(named) == len(set(named)) and all(row["reason"] for row in rows)
    used = {records[k].path for batch in taken for k in batch["record"].tolist()}
    # Every record had its turn once: it was used, or it is named; a file broken in part can be both.
    assert used | set(named) == {record.path for record in records}
    assert len(used & set(named)) < 0.1 * num
    assert 0.3 * num < len(named) < num
