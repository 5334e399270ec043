"""What localize must not take for something else: replaced files, names that meet, background, pictures."""

import os
import shutil

import cv2
import numpy as np
import pytest

from actjax.data.clips.snippets import Snippets
from actjax.data.clips.spec import ClipSpec
from actjax.data.clips.transforms import center
from actjax.data.datasets.features import FeatureFiles, save_feature
from actjax.data.datasets.named_labels import parts_of
from actjax.data.datasets.records import ActivityNetRecord, RawframesRecord, VideoRecord
from actjax.data.loading.quarantine import Quarantine
from actjax.data.samples.shapes import write_video
from actjax.models import BMN
from actjax.tasks.bsn.localizing import _curves
from actjax.tasks.localizing import files_of, has_classes
from actjax.tasks.recognition.extracting import extract_features
from actjax.tasks.recognition.localizing import segments_of
from actjax.tasks.recognition.run import Localization
from actjax.tasks.recognition.sliding import Scored
from actjax.tasks.running import Call
from actjax.tasks.videos import is_several, records_of
from actjax.video.clock import Clock

CLIPS = ClipSpec(sample=None, view=lambda h, w, rng=None: center(h, w, rng=rng, short_side=45, size=40), test=True)


def call(videos) -> Call:
    return Call("localize", None, None, 0.0, video=videos)


def test_a_file_that_was_replaced_is_looked_at_again(tmp_path):
    path = tmp_path / "v.mp4"
    for length, made in ((40, (1, 0, 0)), (40, (0, 1, 0)), (80, (1, 0, 0))):
        if made[0]:
            write_video(path, np.zeros((length, 48, 64, 3), np.uint8), fps=12)
        unread = Quarantine(tmp_path / "quarantine.jsonl", num_records=1)
        embed = lambda clips: clips.mean((1, 2, 3, 4)).astype(np.float32)
        found = extract_features(
            [VideoRecord(str(path))], tmp_path / "out", Snippets(CLIPS, 16, 1, 4), embed, quarantine=unread
        )
        assert tuple(found) == made
    assert len((tmp_path / "out" / "v.csv").read_text().splitlines()) == 1 + 5


def test_clips_longer_than_the_interval():
    """Eight frames spread over 24 around every fourth."""
    rows = Snippets(CLIPS, 4, 8, 4, 24).indices(60)
    assert len(rows) == 15 and (np.diff(rows[7]) == 3).all() and abs(rows[7].mean() - 30) <= 1


def test_names_that_meet_in_result_files(tmp_path):
    for name in ("a.mp4", "v_a.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="have one name in result files, which leave out v_; rename one of them"):
        files_of(call(str(tmp_path)))
    one = str(tmp_path / "a.mp4")
    assert [record.path for record in files_of(call([one, one]))] == [one]


@pytest.mark.parametrize("video", [b"bytes", np.zeros((3, 8, 8, 3), np.uint8)])
def test_only_files_have_clocks(video):
    with pytest.raises(ValueError, match="localize takes files of videos"):
        files_of(call(video))


def test_background_of_the_network_is_no_class_of_proposals(tmp_path):
    logits = np.array([[0.0, 1.0, 3.0], [2.0, 0.0, 3.0]])
    save_feature(tmp_path / "v.csv", logits)
    note = {"class_names": ["run", "jump", "background"]}
    record = ActivityNetRecord("v", "v", 4.0, 48, 48, [])
    assert has_classes(["run", "jump"], note) and not has_classes(["run", "swim"], note)
    found = _curves(record, FeatureFiles(str(tmp_path)), note, ["jump", "run"])
    whole = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found.scores, whole[:, :2], rtol=1e-6)
    assert found.names == ["run", "jump"] and found.times.tolist() == [1.0, 3.0]


def test_only_the_likeliest_class_is_there_whatever_the_threshold():
    scores = np.array([[0.6, 0.4]] * 3 + [[0.3, 0.7]] * 3, np.float32)
    scored = Scored(Clock(60, 10.0), np.arange(7) * 10.0, scores)
    options = Localization(window=1.0, threshold=0.0)
    rows = segments_of(scored, ["a", "b"], np.ones(2, bool), options, multi_label=False)
    assert [(row["class"], row["segment"]) for row in rows] == [("b", [3.0, 6.0]), ("a", [0.0, 3.0])]
    assert [round(row["score"], 6) for row in rows] == [0.7, 0.6]
    short = scores[[0, 1, 4, 2, 3, 5]]  # a blip of one second is too short where the window has four
    blips = Scored(Clock(60, 10.0), np.arange(7) * 10.0, short)
    found = segments_of(blips, ["a", "b"], np.ones(2, bool), options._replace(window=4.0), multi_label=False)
    assert min(row["segment"][1] - row["segment"][0] for row in found) >= 2
    told = segments_of(blips, ["a", "b"], np.ones(2, bool), options._replace(min_seconds=0.0), multi_label=False)
    assert min(row["segment"][1] - row["segment"][0] for row in told) == 1


def test_a_folder_of_frames_is_one_video(tmp_path, media):
    for number in range(1, 6):
        cv2.imwrite(str(tmp_path / f"img_{number:05d}.jpg"), np.full((48, 64, 3), 9 * number, np.uint8))
    (record,) = records_of(str(tmp_path))
    assert isinstance(record, RawframesRecord) and record.open().num_frames == 5 and not is_several(str(tmp_path))
    shutil.copy(media / "test.mp4", tmp_path)  # then the pictures are thumbnails, for example
    (record,) = records_of(str(tmp_path))
    assert record.path.endswith("test.mp4") and is_several(str(tmp_path))
    os.remove(tmp_path / "test.mp4")
    os.remove(tmp_path / "img_00003.jpg")
    with pytest.raises(ValueError, match="frame number 3 is missing"):
        records_of(str(tmp_path))


def test_features_of_any_number_of_channels():
    import jax

    for channels in (5, 6, 8):
        model = BMN(
            temporal_scale=8, feat_dim=channels, num_samples=2, hidden_dim_1d=8, hidden_dim_2d=4, hidden_dim_3d=4
        )
        shape = jax.ShapeDtypeStruct((2, 8, channels), np.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0), shape)
        assert jax.eval_shape(model.apply, variables, shape).start.shape == (2, 8)


def test_an_empty_label_is_refused():
    for text in ("run;jump;", "run;;jump"):
        with pytest.raises(ValueError, match="has an empty label between or behind semicolons"):
            parts_of(text, (), multi_class=True)
