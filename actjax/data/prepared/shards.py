"""Records -> shards of a prepared split, written by processes that can be killed.

A shard gets its name only after it was written and read back, so a killed run resumes with the missing shards. If a
record hangs or crashes the decoder, its process ends and the shard is written again without that record.
"""

import functools
import json
import os
import pathlib
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from actjax.data.loading.endings import Ended, MachineError, blame, excused
from actjax.data.loading.pool import GuardedPool
from actjax.data.loading.serving import Deadline
from actjax.data.prepared.example import encode_example
from actjax.data.prepared.index import checksum
from actjax.data.prepared.reading import Shard
from actjax.paths import replace
from actjax.video.errors import VideoError

SPAN_COLUMNS = 3  # offset, length, CRC-32; two in earlier versions


class Job(NamedTuple):
    """One shard to write. `state`: the file that marks it as done; `source`: hash of the run's inputs; `items`: pairs
    (name, record); `broken`: position in `items` -> reason, for records that cannot be read."""

    path: pathlib.Path
    state: pathlib.Path
    source: str
    items: list[tuple]
    broken: Mapping[int, str] = {}

    @property
    def done(self) -> bool:
        """Whether the shard exists, made from the same inputs. A shard with only broken records is tried again."""
        if not self.state.exists() or not self.path.exists():
            return False
        state = json.loads(self.state.read_text())
        same = state["source"] == self.source and state["bytes"] == self.path.stat().st_size
        return same and bool(state["rows"]) and state.get("span_columns") == SPAN_COLUMNS


def path_of(record) -> str:
    """The name of a record in error messages: its `path`, or itself."""
    return str(getattr(record, "path", record))


def write_shards(jobs: list[Job], encode: Callable, *, processes: int | None, timeout: float, show: Callable) -> None:
    """Writes all shards; `show(finished)` wraps the iterator of finished jobs, as `progress` of `prepare`.

    Args:
      encode: `encode(name, record, renew)` -> the values of an example, and its row of the index. It calls `renew`
        before every step that may take `timeout` seconds, and raises VideoError for a record that cannot be read.
      processes: number of writers; None: one per core; 0: this process writes, unguarded.

    Raises:
      RuntimeError: processes were killed, or a shard does not read back as written. Unreachable: the network is gone.
      Whatever `encode` raises.
    """
    if processes == 0:
        _exhaust(show(_exhaust(_write_shard(job, Deadline(0), encode=encode)) for job in jobs))
        return
    processes = min(processes or os.cpu_count(), max(len(jobs), 1))
    pool = GuardedPool(functools.partial(_write_pickled, encode=encode), processes, timeout=timeout)
    with ThreadPoolExecutor(processes) as threads:
        try:
            _exhaust(show(threads.map(lambda job: _write(pool, job, timeout), jobs)))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.close()  # kills writers that are still running


def _exhaust(items: Iterable) -> None:
    for _ in items:
        pass


def _write(pool: GuardedPool, job: Job, timeout: float) -> None:
    """Writes a shard; starts over without any record that ends the process."""
    import cloudpickle

    while True:
        try:
            _exhaust(pool.stream(cloudpickle.dumps(job)))  # also of a notebook's own classes
            return
        except Ended as end:
            if end.part is None:  # not while a record was read
                raise MachineError(f"prepare: {end}. Finished shards are kept: run again") from end
            error = blame(path_of(job.items[end.part][1]), end.status, timeout)
            job = job._replace(broken={**job.broken, end.part: error.reason})


def _write_pickled(job: bytes, deadline: Deadline, *, encode: Callable) -> Iterator[int | None]:
    return _write_shard(pickle.loads(job), deadline, encode=encode)


def _write_shard(job: Job, deadline: Deadline, *, encode: Callable) -> Iterator[int | None]:
    """Writes a shard; yields the number of each record before reading it, and None afterwards."""
    from array_record.python.array_record_module import ArrayRecordWriter

    temporary = job.state.with_suffix(f".{os.getpid()}")
    names, rows, spans, broken, checks = [], [], [], [], []
    writer = ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
    try:
        for number, (name, record) in enumerate(job.items):
            yield number
            example = None
            try:
                if number in job.broken:
                    raise VideoError(path_of(record), job.broken[number])
                example = encode(name, record, deadline.renew)
            except VideoError as error:
                if excused(error) is not error:
                    raise  # the network is gone; the shard is written again
                broken.append(dict(path=error.path, reason=error.reason))
            yield None
            deadline.pause()  # writing has no deadline
            if example is None:
                continue
            values, row = example
            data, places = encode_example(values)
            writer.write(data)
            names.append(name)
            checks.append(zlib.crc32(data))
            spans.append([[_with_check(data, *span) for span in parts] for parts in encode.spans(places)])
            rows.append(row | dict(num_spans=len(spans[-1])))
    finally:
        writer.close()
    for row, start in zip(rows, _read_back(temporary, names, checks), strict=True):
        row["start"] = start
    size, sha256 = temporary.stat().st_size, checksum(temporary)
    os.replace(temporary, job.path)
    parts = len(spans[0][0]) if spans else 1
    flat = np.array([span for record in spans for span in record], np.uint32).reshape(-1, parts, SPAN_COLUMNS)
    replace(job.state.with_suffix(".npy"), lambda file: np.save(file, flat))
    state = dict(source=job.source, bytes=size, sha256=sha256, names=names, rows=rows, broken=broken)
    state["span_columns"] = SPAN_COLUMNS
    replace(job.state, lambda file: file.write(json.dumps(state).encode()))


def _with_check(data: bytes, offset: int, length: int) -> tuple[int, int, int]:
    return offset, length, zlib.crc32(memoryview(data)[offset : offset + length])


def _read_back(path: pathlib.Path, names: list[str], checks: list[int]) -> list[int]:
    """Verifies all records, read both as tfds does and by position -> start of each record in the stream."""
    from array_record.python.array_record_module import ArrayRecordReader

    reader, shard = ArrayRecordReader(str(path)), Shard(path)
    if reader.num_records() != len(names):
        raise RuntimeError(f"{path} holds {reader.num_records()} of {len(names)} records: is the disk full?")
    starts = _record_starts(shard, len(names))
    for number, (name, check, start) in enumerate(zip(names, checks, starts, strict=True)):
        data = reader.read([number])[0]
        if zlib.crc32(data) != check or shard.read(start, len(data)) != data:
            raise RuntimeError(f"{path}: {name} does not read back as written: is the disk failing?")
    reader.close()
    return starts


def _record_starts(shard: Shard, count: int) -> list[int]:
    """The positions in the stream where the first `count` records start.

    A Riegeli file is a list of chunks: a header of 40 bytes (at 8 the length of the data, at 24 the type "r" for
    records, at 32 their decoded length), then the data, which end with the record, as nothing is compressed.
    """
    starts, place = [], 0
    while len(starts) < count:
        header = shard.read(place, 40)
        if len(header) < 40:
            raise RuntimeError(f"{shard.path} ends after {len(starts)} of {count} records: is the disk full?")
        place += 40 + int.from_bytes(header[8:16], "little")
        if header[24:25] == b"r":
            starts.append(place - int.from_bytes(header[32:40], "little"))
    return starts
