"""A recogniser along videos: what it chooses on the validation videos, its segments by hand, background, TAG."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tiny_runs
from numbered import write

import actjax
from actjax.data.samples.shapes import make_shapes
from actjax.localization import actionness_grouping
from actjax.tasks.recognition.calibrating import threshold_of
from actjax.video.decoding import open_video

GIVEN = dict(window=1.0, stride=0.25, threshold=0.128)


@pytest.fixture(scope="module")
def shapes(recogniser) -> pathlib.Path:
    """The videos of the recogniser's run."""
    return make_shapes(num_train=32, num_val=8)


@pytest.fixture(scope="module")
def videos(tmp_path_factory, recogniser) -> pathlib.Path:
    """An untrimmed video, one of a variable frame rate, and one that is shorter than a window."""
    folder = tmp_path_factory.mktemp("videos")
    shutil.copy(tiny_runs.videos_of_the_sample_set() / "val_0003.mp4", folder / "a.mp4")
    frames = open_video(folder / "a.mp4").frames(np.arange(90))
    times = np.cumsum(np.random.default_rng(0).integers(20, 250, len(frames)))
    for name, num in (("b.mkv", len(frames)), ("c.mkv", 5)):
        options = dict(num=num, times=times[:num], size=(64, 48), draw=lambda k, *size: frames[k])
        write(folder / name, "ffv1", pix_fmt="bgr0", **options)
    return folder


def listed(shapes, **more) -> dict:
    """The recogniser's videos, as lists."""
    return dict(name="videos", train=str(shapes / "train.txt"), val=str(shapes / "val.txt")) | more


@pytest.fixture(scope="module")
def located(tmp_path_factory, recogniser, videos):
    """What the mode finds with all options given, and where its files are."""
    out = tmp_path_factory.mktemp("located")
    return tiny_runs.localize(recogniser, changes_of(**GIVEN), video=str(videos), out=str(out)), out


def changes_of(**localize) -> dict:
    return {f"localize.{name}": value for name, value in localize.items()}


def kept_scores(out: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The seconds at which steps begin and the last ends [n + 1], and the probabilities [n, k], from the file."""
    with np.load(out / "scores" / f"{name}.npz") as file:
        times = file["times"]
        if len(times):
            return np.interp(file["places"], np.arange(len(times)), times), file["scores"]
        return file["places"] / float(file["fps"]), file["scores"]


def runs_by_hand(curve, threshold, tolerance):
    """(first step, step after the last, mean) of the runs, see tests/localization/test_runs.py."""
    above, k = curve >= threshold, 0
    while k < len(curve):
        if not above[k]:
            k += 1
            continue
        end = k + 1
        while end < len(curve) and above[end]:
            end += 1
        while above[end:].any():
            later = end + int(np.argmax(above[end:]))
            while later < len(curve) and above[later]:
                later += 1
            if above[k:later].sum() < tolerance * (later - k):
                break
            end = later
        yield k, end, float(np.mean(curve[k:end], dtype=np.float64))
        k = end


def by_hand(edges, scores, names, *, threshold, tolerance=0.8, min_seconds=0.5, multi_label=False, background=()):
    found = []
    for k, name in enumerate(names):
        if name in background:
            continue
        curve = scores[:, k] if multi_label else np.where(scores.argmax(axis=1) == k, scores[:, k], 0)
        for first, last, _ in runs_by_hand(curve, threshold, tolerance):
            if edges[last] - edges[first] >= min_seconds - 1e-9:
                found.append((edges[first], edges[last], float(scores[first:last, k].mean()), name))
    return sorted(found, key=lambda row: (-row[2], row[:2]))


def check(segments, expected):
    assert [row["class"] for row in segments] == [row[3] for row in expected]
    given = [(*row["segment"], row["score"]) for row in segments]
    np.testing.assert_allclose(
        np.reshape(given, (-1, 3)), np.reshape([row[:3] for row in expected], (-1, 3)), rtol=1e-6
    )


def test_segments_are_those_of_the_kept_scores(located, recogniser):
    found, out = located
    names = json.loads((recogniser / "class_names.json").read_text())
    assert [each.name for each in found] == ["a", "b", "c"]
    for each in found:
        edges, scores = kept_scores(out, each.name)
        assert scores.shape == (len(edges) - 1, 8) and scores.sum(1) == pytest.approx(1, abs=1e-5)
        steps = np.diff(edges)
        assert edges[0] == 0 and edges[-1] == pytest.approx(each.seconds) and steps[:-1] == pytest.approx(0.25)
        check(each.segments, by_hand(edges, scores, names, threshold=0.128))
    assert len(found[0].segments) > 2 and len(found[2].segments) == 1
    seconds = [float(file["segment"][1]) for each in found[:2] for file in each.segments]
    assert max(seconds) > 10


def test_scores_are_those_of_the_network_on_clips_of_the_window(located, recogniser, videos):
    """Whose frames are spread over the second around the middle of the step."""
    _, out = located
    edges, scores = kept_scores(out, "a")
    trained, video = actjax.load(recogniser), open_video(videos / "a.mp4")
    for k in (5, len(scores) // 2):
        middle = (edges[k] + edges[k + 1]) / 2
        seconds = middle + (np.arange(8) + 0.5) / 8 - 0.5
        frames = video.frames(np.floor(seconds * 12 + 1e-6).astype(int))
        np.testing.assert_allclose(trained.scores(frames), scores[k], rtol=1e-4)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, recogniser, videos):
    """A copy of the run, for which window, stride and threshold were chosen, and `--out`."""
    workdir = tiny_runs.copied(recogniser, tmp_path_factory.mktemp("runs") / "run")
    out = tmp_path_factory.mktemp("chosen")
    tiny_runs.localize(workdir, {}, video=str(videos / "a.mp4"), out=str(out))
    return workdir, json.loads((workdir / "localize.json").read_text())


def labels_of(shapes) -> list[tuple[str, int]]:
    """(name, label) of the validation videos."""
    rows = [line.rsplit(maxsplit=1) for line in (shapes / "val.txt").read_text().splitlines()]
    return [(pathlib.Path(name).stem, int(label)) for name, label in rows]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, chosen, shapes):
    """Probabilities of the windows along the validation videos, with their labels, from files of the mode."""
    workdir, options = chosen
    out, given = tmp_path_factory.mktemp("calibrated"), {k: options[k] for k in ("window", "stride")}
    folder = tmp_path_factory.mktemp("validation")
    for line in (shapes / "val.txt").read_text().splitlines():
        shutil.copy(shapes / line.rsplit(maxsplit=1)[0], folder)
    changes = changes_of(threshold=0.5, **given)
    tiny_runs.localize(workdir, changes, video=str(folder), out=str(out))
    return [(kept_scores(out, name)[1], label) for name, label in labels_of(shapes)]


def test_window_and_threshold_are_chosen_on_the_validation_videos(chosen, calibrated, shapes):
    _, options = chosen
    lengths = [open_video(shapes / line.rsplit(maxsplit=1)[0]) for line in (shapes / "val.txt").open()]
    median = np.median([video.num_frames / 12 for video in lengths])
    assert options["window"] == pytest.approx(median) and options["stride"] == pytest.approx(median / 4)
    right = [scores[scores.argmax(1) == label, label] for scores, label in calibrated]
    assert options["threshold"] == pytest.approx(np.quantile(np.concatenate(right), 0.05), rel=1e-5)


def test_what_was_chosen_is_used_until_the_weights_change(chosen, videos, tmp_path):
    workdir, options = chosen
    file = workdir / "localize.json"
    before = file.stat().st_mtime_ns
    again = actjax.load(workdir).localize(videos / "a.mp4")
    given = dict(window=options["window"], stride=options["stride"], threshold=options["threshold"])
    assert again == actjax.load(workdir, localize=given).localize(videos / "a.mp4") != []
    assert file.stat().st_mtime_ns == before
    other = tiny_runs.make_recogniser(tmp_path / "other", seed=1)
    shutil.copy(file, other)
    actjax.load(other).localize(videos / "a.mp4")
    anew = json.loads((other / "localize.json").read_text())
    assert anew["chosen_by"] != options["chosen_by"] and anew["window"] == options["window"]
    assert anew["threshold"] != options["threshold"]


def test_the_section_overrides_and_needs_no_data(recogniser, videos, shapes, located, tmp_path):
    gone = dict(data=listed(shapes, val=str(tmp_path / "gone.txt")))
    trained = actjax.load(recogniser, localize=GIVEN, **gone)
    (each,) = [each for each in located[0] if each.name == "a"]
    pairs = [row | {"segment": tuple(row["segment"])} for row in each.segments]
    assert trained.localize(videos / "a.mp4") == pairs
    assert not (recogniser / "localize.json").exists()
    default = actjax.load(recogniser, localize=dict(window=1.0, threshold=0.128), **gone)
    assert default.localize(videos / "a.mp4") == pairs  # the stride is a quarter of the window
    told = (
        "validation videos, which tell window and threshold, cannot be opened: .*gone.txt.*; or set --config.localize"
    )
    for lacking in (dict(window=1.0), dict(threshold=0.1)):
        with pytest.raises(ValueError, match=told):
            actjax.load(recogniser, localize=lacking, **gone).localize(videos / "a.mp4")


@pytest.mark.slow
def test_validation_videos_that_tell_no_threshold(recogniser, calibrated, videos, shapes, tmp_path):
    """None of their windows is classified right."""
    predicted = {int(k) for scores, _ in calibrated for k in scores.argmax(1)}
    never = next(k for k in range(8) if k not in predicted)
    lines = [line.rsplit(maxsplit=1)[0] for line in (shapes / "val.txt").read_text().splitlines()]
    (tmp_path / "val.txt").write_text("".join(f"{shapes / name} {never}\n" for name in lines))
    data = listed(shapes, val=str(tmp_path / "val.txt"))
    trained = actjax.load(recogniser, data=data)
    with pytest.raises(
        ValueError, match="no window of the validation videos is classified right.*localize.threshold=P"
    ):
        trained.localize(videos / "a.mp4")


@pytest.mark.parametrize("by", ["option", pytest.param("name", marks=pytest.mark.slow)])
def test_a_background_class_parts_action_from_nothing(recogniser, located, calibrated, shapes, videos, tmp_path, by):
    """By the option or by its name; its windows tell the threshold."""
    names = json.loads((recogniser / "class_names.json").read_text())
    others = [row | {"segment": tuple(row["segment"])} for row in located[0][0].segments]
    label = next(label for scores, label in calibrated if names[label] in {row["class"] for row in others})
    action = [k for k in range(8) if k != label]
    there = np.concatenate([scores[scores.argmax(1) == k, k] for scores, k in calibrated if k != label])
    nothing = np.concatenate([scores[:, action].max(1) for scores, k in calibrated if k == label])
    expected = threshold_of(there, nothing)
    shares = [(there >= edge).mean() - (nothing >= edge).mean() for edge in there]
    assert (there >= expected).mean() - (nothing >= expected).mean() == pytest.approx(max(shares))
    own = ["Background" if k == label and by == "name" else name for k, name in enumerate(names)]
    localize = {} if by == "name" else dict(background=(names[label],))
    workdir = tiny_runs.copied(recogniser, tmp_path / "run")
    (workdir / "localize.json").write_text("[]")  # damaged
    data = listed(shapes, class_names=own)
    actjax.load(workdir, localize=localize, data=data).localize(videos / "a.mp4")
    options = json.loads((workdir / "localize.json").read_text())
    assert options["threshold"] == pytest.approx(expected, rel=1e-5)
    found = actjax.load(workdir, localize=localize | GIVEN, data=data).localize(videos / "a.mp4")
    assert found == [row for row in others if row["class"] != names[label]] and 0 < len(found) < len(others)


def test_background_that_is_no_class_or_all(recogniser, videos):
    names = json.loads((recogniser / "class_names.json").read_text())
    with pytest.raises(ValueError, match="localize.background: 'running' is no class; the classes are"):
        actjax.load(recogniser, localize=GIVEN | dict(background=("running",))).localize(videos / "a.mp4")
    with pytest.raises(ValueError, match="no class is left that is an action"):
        actjax.load(recogniser, localize=GIVEN | dict(background=tuple(names))).localize(videos / "a.mp4")


def test_classes_that_do_not_exclude_each_other(recogniser, videos, shapes, located, tmp_path):
    """Sigmoids in place of softmax, and segments of several classes at a time; gaps, and short ones dropped."""
    names = json.loads((recogniser / "class_names.json").read_text())
    changes = {f"data.{key}": value for key, value in listed(shapes, multi_class=True).items()} | {"run.best": "mAP"}
    options = dict(threshold=0.5, tolerance=0.6, min_seconds=0.4)
    changes |= changes_of(window=1.0, stride=0.25, **options)
    found = tiny_runs.localize(recogniser, changes, video=str(videos), out=str(tmp_path))
    overlapping = 0
    for each in found:
        edges, scores = kept_scores(tmp_path, each.name)
        softmax = kept_scores(located[1], each.name)[1].astype(np.float64)
        logits = np.log(scores / (1 - scores.astype(np.float64)))
        power = np.exp(logits)
        np.testing.assert_allclose(power / power.sum(1, keepdims=True), softmax, rtol=1e-3)
        check(each.segments, by_hand(edges, scores, names, multi_label=True, **options))
        spans = [row["segment"] for row in each.segments]
        overlapping += sum(a[0] < b[1] and b[0] < a[1] for a in spans for b in spans) > len(spans)
    assert overlapping


def test_chunks_change_nothing(recogniser, videos, located, tmp_path):
    found = tiny_runs.localize(
        recogniser, changes_of(**GIVEN, chunk=16), video=str(videos / "a.mp4"), out=str(tmp_path)
    )
    for one, other in zip(kept_scores(tmp_path, "a"), kept_scores(located[1], "a"), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert [row["class"] for row in found[0].segments] == [row["class"] for row in located[0][0].segments]


def test_score_files_that_are_damaged_or_foreign_are_made_again(recogniser, videos, located, tmp_path):
    found, before = located
    out = tmp_path / "out"
    shutil.copytree(before, out)
    scores = out / "scores"
    (scores / "a.npz").write_bytes((scores / "a.npz").read_bytes()[:200])
    shutil.copy(scores / "c.npz", scores / "b.npz")
    kept = (scores / "c.npz").stat().st_mtime_ns
    again = tiny_runs.localize(recogniser, changes_of(**GIVEN), video=str(videos), out=str(out))
    assert (out / "segments.json").read_bytes() == (before / "segments.json").read_bytes()
    assert [each.segments for each in again] == [each.segments for each in found]
    assert (scores / "c.npz").stat().st_mtime_ns == kept
    made = {file: file.stat().st_mtime_ns for file in scores.iterdir()}
    tiny_runs.localize(recogniser, changes_of(**GIVEN | dict(threshold=0.5)), video=str(videos), out=str(out))
    assert made == {file: file.stat().st_mtime_ns for file in scores.iterdir()}  # the threshold comes after
    tiny_runs.localize(recogniser, changes_of(**GIVEN | dict(window=0.5)), video=str(videos / "c.mkv"), out=str(out))
    assert made[scores / "c.npz"] != (scores / "c.npz").stat().st_mtime_ns


@pytest.mark.slow
def test_a_killed_call_goes_on(recogniser, videos, located, tmp_path, monkeypatch):
    from actjax.tasks.recognition import sliding

    save = sliding._save

    def killed(file, **options):
        if list(tmp_path.glob("out/scores/*.npz")):
            raise KeyboardInterrupt
        save(file, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sliding, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_runs.localize(recogniser, changes_of(**GIVEN), video=str(videos), out=str(tmp_path / "out"))
    (first,) = (tmp_path / "out" / "scores").glob("*")
    made = first.stat().st_mtime_ns
    tiny_runs.localize(recogniser, changes_of(**GIVEN), video=str(videos), out=str(tmp_path / "out"))
    assert first.stat().st_mtime_ns == made
    assert (tmp_path / "out" / "segments.json").read_bytes() == (located[1] / "segments.json").read_bytes()


def test_proposals_are_groups_of_actionness(recogniser, videos, located):
    """TAG of the best class, or of all actions together where there is background."""
    names = json.loads((recogniser / "class_names.json").read_text())
    edges, scores = kept_scores(located[1], "a")
    path = str(videos / "a.mp4")
    for background, curve in (((), scores.max(1)), ((names[0],), scores[:, 1:].sum(1))):
        proposals = actjax.load(recogniser, localize=GIVEN | dict(background=background)).propose([path])
        expected = actionness_grouping(curve)
        assert proposals.keys() == {path} and len(proposals[path]) == len(expected) > 0
        spans = [row["segment"] for row in proposals[path]]
        np.testing.assert_allclose(spans, edges[expected[:, :2].astype(int)], atol=1e-6)
        np.testing.assert_allclose([row["score"] for row in proposals[path]], expected[:, 2], rtol=1e-5)


def test_broken_videos_pictures_and_flags_of_others(recogniser, videos, located, tmp_path):
    trained = actjax.load(recogniser, localize=GIVEN)
    shutil.copy(videos / "c.mkv", tmp_path)
    (tmp_path / "broken.mp4").write_text("no video")
    good, bad = trained.localize(str(tmp_path))
    assert good["video"].endswith("c.mkv") and len(good["segments"]) == 1
    assert bad["video"].endswith("broken.mp4") and "not a video file" in bad["error"]
    (only,) = trained.localize(tmp_path / "broken.mp4")
    assert only == bad
    with pytest.raises(ValueError, match="localize takes files of videos: only they tell the times of their frames"):
        trained.localize(np.zeros((9, 48, 64, 3), np.uint8))
    for flag in ("features", "network", "proposals"):
        with pytest.raises(ValueError, match=f"--{flag}: a run of TSN or TSM takes videos alone, --video=FILE"):
            trained.localize(videos / "c.mkv", **{flag: "x"})
