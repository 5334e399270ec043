"""Features of whole videos by a trained recogniser: the numbers, resumption, hosts, broken videos."""

import csv
import json
import shutil

import numpy as np
import pytest
from broken_records import Befallen
from cli import SMALL, run
from drawn import drawn_variables

from actjax.data.clips.snippets import Snippets
from actjax.data.clips.spec import ClipSpec
from actjax.data.clips.transforms import center
from actjax.data.datasets.annotations import load_annotations
from actjax.data.datasets.features import FeatureFiles
from actjax.data.datasets.records import RawframesRecord, VideoRecord
from actjax.data.loading import processes
from actjax.data.loading.endings import MachineError
from actjax.data.loading.order import Shard
from actjax.data.loading.quarantine import Quarantine
from actjax.data.samples.shapes import write_video
from actjax.models import TSM, TSN, embedding
from actjax.tasks.recognition import extracting
from actjax.tasks.recognition.extracting import extract_features
from actjax.tasks.videos import distinct_names
from actjax.video.errors import VideoError

PROTOCOL = ClipSpec(sample=None, view=lambda h, w, rng=None: center(h, w, rng=rng, short_side=45, size=40), test=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Four videos of 10, 40, 41 and 100 frames, whose grey value is the number of the frame; and no video."""
    folder = tmp_path_factory.mktemp("videos")
    for number, length in enumerate((10, 40, 41, 100)):
        frames = np.repeat(np.arange(length, dtype=np.uint8), 48 * 64 * 3).reshape(length, 48, 64, 3) * 2
        write_video(folder / f"v_{number}.mp4", frames, fps=12)
    (folder / "v_4.mp4").write_bytes(b"no video")
    return [VideoRecord(str(folder / f"v_{number}.mp4")) for number in range(5)]


def extracted(videos, folder, *, chunk=3, embed=None, snippets=None, **options):
    embed = embed or (lambda clips: clips.mean((1, 2, 3, 4)).astype(np.float32))
    snippets = snippets or Snippets(PROTOCOL, 16, 1, chunk)
    folder.mkdir(exist_ok=True)
    listed = Quarantine(folder / "quarantine.jsonl", num_records=len(videos), max_share=1.0)
    return extract_features(videos, folder, snippets, embed, quarantine=listed, **options)


def read(path):
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)


def test_a_row_for_every_sixteenth_frame(videos, tmp_path):
    summary = extracted(videos, tmp_path / "out")
    assert tuple(summary) == (4, 0, 1)
    for number, centres in enumerate(([8], [8, 24], [8, 24, 40], [8, 24, 40, 56, 72, 88])):
        rows = read(tmp_path / "out" / f"v_{number}.csv")
        assert rows.shape == (len(centres), 3)
        np.testing.assert_allclose(rows[:, 0], 2 * np.array(centres), atol=3)  # the codec loses a little
    lines = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == [videos[4].path]
    with (tmp_path / "out" / "video_info.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["video"], row["numFrame"], row["featureFrame"]) for row in rows] == [
        ("v_0", "10", "16"), ("v_1", "40", "32"), ("v_2", "41", "48"), ("v_3", "100", "96")
    ]  # fmt: skip
    assert float(rows[3]["seconds"]) == pytest.approx(100 / 12)


def test_chunks_hosts_and_formats_change_nothing(videos, tmp_path):
    extracted(videos, tmp_path / "one")
    extracted(videos, tmp_path / "large", chunk=50, suffix=".npy")
    for host in range(2):
        extracted(videos, tmp_path / "two", shard=Shard(host, 2))
    for number in range(4):
        expected = read(tmp_path / "one" / f"v_{number}.csv")
        np.testing.assert_allclose(np.load(tmp_path / "large" / f"v_{number}.npy"), expected, rtol=1e-6)
        np.testing.assert_array_equal(read(tmp_path / "two" / f"v_{number}.csv"), expected)
    assert {path.name for path in (tmp_path / "two").glob("*.csv") if path.name.startswith("video_info")} == {
        "video_info-00000-of-00002.csv", "video_info-00001-of-00002.csv"
    }  # fmt: skip


def test_a_killed_run_goes_on(videos, tmp_path):
    calls = []

    def fails_later(clips):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return clips.mean((1, 2, 3, 4)).astype(np.float32)

    with pytest.raises(KeyboardInterrupt):
        extracted(videos, tmp_path / "out", embed=fails_later)
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("v_*.csv")}
    assert len(whole) == 2
    assert tuple(extracted(videos, tmp_path / "out")) == (2, 2, 1)
    assert all(path.stat().st_mtime_ns == when for path, when in whole.items())
    extracted(videos, tmp_path / "once")
    for name in ("v_2.csv", "v_3.csv", "video_info.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "once" / name).read_text()
    assert not list((tmp_path / "out").glob(".*"))


def test_what_befalls_the_reader_changes_no_feature(videos, tmp_path, monkeypatch):
    """No clip is lost, and none is there twice."""
    monkeypatch.setattr(processes, "TICK", 0.25)
    monkeypatch.setattr(processes, "GRACE", 0.5)
    befallen = list(videos)
    for k, (what, after) in {0: ("SIGKILL", None), 2: ("SIGKILL", 0), 3: ("SIGKILL", 3), 1: ("SIGSTOP", 1)}.items():
        (tmp_path / str(k)).mkdir()
        befallen[k] = Befallen(videos[k].path, -1, str(tmp_path / str(k)), what, times=2, after=after)
    summary = extracted(befallen, tmp_path / "befallen", chunk=1, timeout=2.0)
    assert tuple(summary) == (4, 0, 1) == tuple(extracted(videos, tmp_path / "quiet", chunk=1))
    for name in ("v_0.csv", "v_1.csv", "v_2.csv", "v_3.csv", "video_info.csv", "quarantine.jsonl"):
        assert (tmp_path / "befallen" / name).read_text() == (tmp_path / "quiet" / name).read_text()
    killed = [Befallen(videos[0].path, -1, str(tmp_path), "SIGKILL", times=10**6)]
    with pytest.raises(MachineError, match="3 times at the same place: probably memory is short"):
        extracted(killed, tmp_path / "killed")
    assert not (tmp_path / "killed" / "quarantine.jsonl").exists()


def test_frames_of_a_clip_are_spread_over_the_interval():
    snippets = Snippets(PROTOCOL, 16, 8, 4)
    np.testing.assert_array_equal(snippets.indices(40), [range(1, 17, 2), range(17, 33, 2)])
    np.testing.assert_array_equal(Snippets(PROTOCOL, 4, 8, 4).indices(7)[0], [0, 0, 0, 1, 2, 3, 4, 5])
    flow = Snippets(PROTOCOL._replace(stack=5), 16, 1, 4)
    np.testing.assert_array_equal(flow.indices(33), [range(6, 11), range(22, 27)])
    with pytest.raises(ValueError, match="num_frames=8; the first clip is around frame 8"):
        snippets.indices(8)


def test_videos_of_one_name_are_told_apart_by_their_folders(videos, tmp_path):
    for name, number in (("run/0.mp4", 0), ("walk/0.mp4", 1), ("walk/v1.0_run.mp4", 3), ("walk/v1.0_jump.mp4", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(videos[number].path, tmp_path / name)
    records = [VideoRecord(str(path)) for path in sorted(tmp_path.glob("*/*.mp4"))]
    assert tuple(extracted(records, tmp_path / "out")) == (4, 0, 0)
    rows = {name: len(read(tmp_path / "out" / f"{name}.csv")) for name in ("run_0", "walk_0", "walk_v1.0_run")}
    assert rows == {"run_0": 1, "walk_0": 2, "walk_v1.0_run": 6}
    assert tuple(extracted(records, tmp_path / "out")) == (0, 4, 0)
    assert tuple(extracted(records[1:], tmp_path / "out"))[0] == 3  # each name is there once: without folders
    assert (tmp_path / "out" / "v1.0_jump.csv").exists()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/x.mp4", "/a/y.avi"], ["x", "y"]),
        (["/a/v1.0_run", "/a/v1.0_jump"], ["v1.0_run", "v1.0_jump"]),  # folders of frames
        (["/a/x.mp4", "/a/x.avi"], ["x.mp4", "x.avi"]),
        (["s3://bucket/run/0.mp4", "s3://bucket/walk/0.mp4"], ["run_0", "walk_0"]),
        (["a/../../b/0.mp4", "/b/0.mp4"], None),
        (["run/0.mp4", "/elsewhere/0.mp4"], None),
    ],
)
def test_names_of_features(paths, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = distinct_names(paths)
    assert len(set(found)) == len(paths) and not any("/" in name or name.startswith(".") for name in found)
    assert names in (None, found)


def test_names_that_cannot_be_those_of_files(videos, tmp_path):
    """Features of all are there, in the folder, and are found by the names in the table."""
    names = ["a", "A", " b", "b.", ".c", "d\n", "\x1b[31me", "x" * 230, "-f", "\udcff"]
    for name in names:
        shutil.copy(videos[0].path, tmp_path / f"{name}.mp4")
    records = [VideoRecord(str(path)) for path in sorted(tmp_path.glob("*.mp4"))]
    out = tmp_path / "out"
    assert tuple(extracted(records, out)) == (len(names), 0, 0) and tuple(extracted(records, out)) == (0, len(names), 0)
    with (out / "video_info.csv").open(newline="", encoding="utf-8") as file:
        listed = [row["video"] for row in csv.DictReader(file)]
    assert sorted(listed) == sorted([*names[:-1], "\\udcff"])
    features = FeatureFiles(str(out))
    assert features.among([*listed, "g"]) == set(listed)
    assert all(features.read(name).shape == (3, 1) for name in listed)
    files = [path.stem for path in out.glob("*.csv") if path.stem != "video_info"]
    assert len(files) == len(names) and len({name.casefold() for name in files}) == len(names)
    assert all(name.isprintable() and not name.startswith((".", " ")) for name in files)
    shutil.copy(videos[0].path, tmp_path / "video_info.mp4")
    with pytest.raises(ValueError, match="named like the table video_info.csv of all videos; rename it"):
        extracted([VideoRecord(str(tmp_path / "video_info.mp4"))], out)


def test_features_of_another_network_are_not_taken_for_one_s_own(tmp_path, caplog):
    origin = {"network": "ab12", "extract": {"interval": 16}}
    extracting.note_origin(tmp_path, origin)
    extracting.note_origin(tmp_path, origin)
    for other, told in (
        ({"network": "cd34"}, "network was 'ab12', is 'cd34'"),
        ({"extract": {"interval": 8}}, "16, is 8"),
    ):
        with pytest.raises(ValueError, match=f"features of another network or config: .*{told}; give another --out"):
            extracting.note_origin(tmp_path, origin | other)
    (tmp_path / "extraction.json").unlink()  # an older version wrote none
    (tmp_path / "video_info.csv").touch()
    for _ in range(2):  # it stays unknown
        caplog.clear()
        extracting.note_origin(tmp_path, origin)
        assert "nothing tells which network made the features there; they are kept" in caplog.text
    assert not (tmp_path / "extraction.json").exists()


def test_features_of_another_video_are_not_taken_for_one_s_own(videos, tmp_path):
    out = tmp_path / "out"
    for folder, number in (("q1", 0), ("q2", 3)):
        (tmp_path / folder).mkdir()
        shutil.copy(videos[number].path, tmp_path / folder / "0.mp4")
    one, other = ([VideoRecord(str(tmp_path / folder / "0.mp4"))] for folder in ("q1", "q2"))
    for suffix in (".csv", ".npy"):
        assert tuple(extracted(one, out, suffix=suffix)) == (1, 0, 0)
        for shard in (Shard(), Shard(1, 2)):
            with pytest.raises(ValueError, match=".*q1/0.mp4', named like those of .*q2/0.mp4'; give another --out"):
                extracted(other, out, suffix=".csv", shard=shard)
    for file in out.glob("0.*"):
        file.unlink()
    assert tuple(extracted(other, out)) == (1, 0, 0) and len(read(out / "0.csv")) == 6
    table = out / "video_info.csv"  # as older versions wrote it: kept
    table.write_text("\n".join(line.rsplit(",", 2)[0] for line in table.read_text().splitlines()) + "\n")
    assert tuple(extracted(one, out)) == (0, 1, 0)


def test_each_video_is_once_in_the_table(videos, tmp_path):
    """Whose features were deleted, whose row is torn, or that several hosts made."""
    out = tmp_path / "out"
    for host in range(2):
        extracted(videos[:4], out, shard=Shard(host, 2))
    (out / "v_1.csv").unlink()
    assert tuple(extracted(videos[:4], out)) == (1, 3, 0)
    table = out / "video_info.csv"
    whole = sorted(table.read_text().splitlines())
    assert len(whole) == 5 and [path.name for path in out.glob("video_info*")] == ["video_info.csv"]
    table.write_bytes(table.read_bytes()[:-9])
    assert tuple(extracted(videos[:4], out)) == (1, 3, 0)
    assert sorted(table.read_text().splitlines()) == whole
    table.write_text("\n".join([*whole[::-1], whole[1], ""]))  # as earlier versions did, without harm
    annotations = {f"v_{k}": {"subset": "", "annotations": []} for k in range(1, 4)}
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    records = load_annotations("activitynet", tmp_path / "a.json", video_info=table)
    assert [record.feature_frame for record in records] == [32, 48, 96]


def test_features_that_are_not_finite_are_an_error(videos, tmp_path):
    """Of the second video; the first is kept."""
    embed = lambda clips: np.where(clips.max() > 25, np.inf, clips.mean((1, 2, 3, 4))).astype(np.float32)
    with pytest.raises(ValueError, match=f"^{videos[1].path}: the features are not finite; use another checkpoint"):
        extracted(videos, tmp_path, embed=embed)
    assert [path.name for path in tmp_path.glob("v_*")] == ["v_0.csv"]


def test_a_video_of_both_splits_counts_once(videos, tmp_path):
    again = [videos[1]._replace(label=2), videos[0], VideoRecord(videos[0].path, 1)]
    assert tuple(extracted([*videos[:2], *again], tmp_path / "out")) == (2, 0, 0)
    parts = [RawframesRecord("/frames/a", 7), RawframesRecord("/frames/a", 7, offset=7)]
    with pytest.raises(ValueError, match="several videos are named .'a'"):
        extracted(parts, tmp_path / "out")


def test_too_short_a_video_is_listed(tmp_path):
    write_video(tmp_path / "v_short.mp4", np.zeros((5, 48, 64, 3), np.uint8), fps=12)
    with pytest.raises(VideoError, match="5 frames, too few for a clip every 16 frames"):
        list(Snippets(PROTOCOL, 16, 1, 4).read(VideoRecord(str(tmp_path / "v_short.mp4"))))


@pytest.mark.parametrize("kind", [TSN, TSM])
def test_embedding_is_what_the_classifier_sees(kind):
    model = kind(num_classes=5, depth=10, width=8, small_input=True, dropout=0.0)
    variables = drawn_variables(model)
    clips = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 40, 40, 3), dtype=np.uint8)
    scores = embedding(model, variables, clips, what="scores")
    features = embedding(model, variables, clips, what="embedding")
    head = variables["params"]["fc_cls"]
    np.testing.assert_allclose(features @ head["kernel"] + head["bias"], scores, atol=1e-5)
    views = model.apply(variables, clips.reshape(6, *clips.shape[2:])).reshape(3, 2, -1).mean(1)
    np.testing.assert_allclose(scores, views, atol=1e-6)


def test_command_line(tmp_path, videos, cache):
    """A trained run, features of a folder and of its own videos, and a config that reads them."""
    workdir, folder = tmp_path / "run", tmp_path / "videos"
    run(*SMALL, "--config.run.epochs=1.0", f"--workdir={workdir}", cache=cache)
    folder.mkdir()
    for video in videos:
        shutil.copy(video.path, folder)
    output = run("--mode=extract", f"--workdir={workdir}", f"--video={folder}", f"--out={tmp_path / 'f'}", cache=cache)
    assert "Summary(done=4, before=0, broken=1)" in output and "Traceback" not in output
    assert read(tmp_path / "f" / "v_3.csv").shape == (6, 8)
    output = run("--mode=extract", f"--workdir={workdir}", f"--video={folder}", f"--out={tmp_path / 'f'}", cache=cache)
    assert "Summary(done=0, before=4, broken=1)" in output
    again = ("--mode=extract", f"--workdir={workdir}", f"--video={folder}", f"--out={tmp_path / 'f'}")
    output = run(*again, "--config.extract.interval=8", cache=cache, status=1)
    assert "of another network or config: extract.interval was 16, is 8" in output and "Traceback" not in output
    assert "before=4" in run(*again, "--config.extract.chunk=3", cache=cache)
    output = run("--mode=extract", f"--workdir={workdir}", f"--out={tmp_path / 'own'}", cache=cache)
    assert "Summary(done=104, before=0, broken=0)" in output
    output = run("--mode=extract", f"--workdir={workdir}", cache=cache, status=1)
    assert "--mode=extract needs --out=FOLDER" in output
