import shutil

import numpy as np
import pytest
from data_cases import arrays, cases

from actjax.data.datasets.features import (
    load_feature,
    load_proposals,
    localization_labels,
    open_features,
    save_feature,
)
from actjax.data.datasets.records import ActivityNetRecord
from actjax.data.prepared.writing import prepare_features
from actjax.mmaction2 import generate_bsp_feature, generate_candidate_proposals
from actjax.tasks.bsn.modes import prepare_features as prepare_folder
from actjax.video_files import file_stem


def record(annotations=(), **durations):
    durations = dict(duration_second=10.0, duration_frame=100, feature_frame=80) | durations
    return ActivityNetRecord("v_a", "v_a", annotations=list(annotations), **durations)


@pytest.fixture
def folders(tmp_path):
    """A video "v_one" with one proposal."""
    (tmp_path / "v_one.csv").write_text("tmin,tmax,tmin_score,tmax_score,score,iou,ioa\n.1,.2,.3,.4,.5,.6,.7\n")
    np.save(tmp_path / "v_one.npy", np.ones((1, 32)))
    return dict(pgm_proposals_dir=tmp_path, pgm_features_dir=tmp_path)


def test_features_match_golden(media, tmp_path):
    golden = arrays("localization")
    for case in cases("localization", "LoadLocalizationFeature"):
        path = media / "activitynet_features" / f"{case['input']['video_name']}.csv"
        feature, expect = load_feature(path), case["expect"]
        assert feature.dtype == np.float32 and list(feature.shape) == expect["shape"]
        np.testing.assert_allclose(feature, golden[expect["key"]], rtol=1e-6)
        np.save(tmp_path / "feature.npy", feature.T)
        np.testing.assert_array_equal(load_feature(tmp_path / "feature.npy"), feature)


def test_proposals_match_golden(media):
    golden = arrays("localization")
    for case in cases("localization", "LoadProposals"):
        folders = dict(pgm_proposals_dir=media / "proposals", pgm_features_dir=media / "bsp_features")
        found = load_proposals(case["input"]["video_name"], top_k=case["args"]["top_k"], **folders)
        assert set(found._fields) == set(case["expect"]["keys"])
        for name, key in case["expect"]["keys"].items():
            values = getattr(found, name)
            assert values.dtype == np.float32 and list(values.shape) == case["expect"]["shapes"][name], case["id"]
            np.testing.assert_allclose(values, golden[key], rtol=1e-6)


def test_labels_match_golden():
    for case in cases("localization", "GenerateLocalizationLabels"):
        boxes = localization_labels(record(**case["input"]))
        assert boxes.dtype == np.float64 and boxes.shape == (len(case["input"]["annotations"]), 2)
        np.testing.assert_allclose(boxes, np.reshape(case["expect"]["gt_bbox"], (-1, 2)), rtol=1e-9)


ERRORS = {
    "err-LoadLocalizationFeature-087": lambda folders, tmp: load_feature(tmp / "absent.csv"),
    "err-LoadProposals-085": lambda folders, tmp: load_proposals("v_one", top_k=3, proposal_ext=".pkl", **folders),
    "err-LoadProposals-086": lambda folders, tmp: load_proposals("v_one", top_k=3, feature_ext=".csv", **folders),
    "err-GenerateLocalizationLabels-090": lambda folders, tmp: localization_labels(record(feature_frame=0)),
    "err-GenerateLocalizationLabels-091": lambda folders, tmp: localization_labels(record(duration_frame=0)),
}
NOT_REFUSED = {
    "err-LoadLocalizationFeature-084": ".npy is read",
    "err-LoadLocalizationFeature-089": "a table of one row is read: test_one_row",
    "err-LoadProposals-088": "a table of one row is read: test_one_row",
}
ROWS = cases("errors", "LoadLocalizationFeature", "LoadProposals", "GenerateLocalizationLabels")


def test_every_row_is_either_tested_or_has_a_reason():
    assert {case["id"] for case in ROWS} == ERRORS.keys() | NOT_REFUSED.keys()


@pytest.mark.parametrize("case", [case for case in ROWS if case["id"] in ERRORS], ids=lambda case: case["id"])
def test_bad_input_is_refused(case, folders, tmp_path):
    with pytest.raises(Exception) as caught:  # noqa: B017
        ERRORS[case["id"]](folders, tmp_path)
    assert {kind.__name__ for kind in type(caught.value).__mro__} & set(case["accept"]), caught.value


def test_one_row(folders, tmp_path):
    assert load_feature(tmp_path / "v_one.csv").shape == (7, 1)
    found = load_proposals("v_one", top_k=3, **folders)
    assert found.bsp_feature.shape == (1, 32)
    assert [float(values[0]) for values in found[1:]] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.6])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 32)), r"shape \(0, 32\); expected \[rows, columns\], at least one of each"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.full((2, 3), np.nan), "NaN"),
        (np.array([["a"]]), "expected floats"),
        (np.array([[{}]]), "objects of Python"),
        (np.array([[1.0, np.inf]]), "row 0 has a value that is NaN, infinite"),
        (np.array([[1.0, 1.0], [1e39, 1.0]]), "row 1 .* beyond float32"),
    ],
)
def test_bad_arrays_name_their_file(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ValueError, match=f"bad.npy.*{message}"):
        load_feature(tmp_path / "bad.npy")


def test_other_bad_files(folders, tmp_path):
    with pytest.raises(ValueError, match="a.pkl: features are .csv or .npy files"):
        load_feature(tmp_path / "a.pkl")
    with pytest.raises(ValueError, match="top_k=0; must be at least 1"):
        load_proposals("v_one", top_k=0, **folders)
    table = tmp_path / "v_one.csv"
    table.write_text(table.read_text() + ".2,.3,.3,.4,.4,.6,.7\n")
    with pytest.raises(ValueError, match="v_one.npy: 1 rows for 2 proposals"):
        load_proposals("v_one", top_k=3, **folders)
    assert len(load_proposals("v_one", top_k=1, **folders).tmin) == 1
    table.write_text("tmin,tmax\n.1,.2\n")
    with pytest.raises(ValueError, match="v_one.csv: 1 rows of 2 columns; expected 1 or more rows of 6 or more"):
        load_proposals("v_one", top_k=3, **folders)


@pytest.mark.parametrize("name", ["../secret", "{outside}/secret", "a/../../secret"])
def test_no_file_outside_of_the_folder_is_read(folders, tmp_path, name):
    """Those of the name inside are, by whatever route it leads there."""
    inside = tmp_path / "inside"
    inside.mkdir()
    name = name.format(outside=tmp_path)
    for suffix in (".csv", ".npy"):
        shutil.copy(tmp_path / f"v_one{suffix}", tmp_path / f"secret{suffix}")
    own = dict(pgm_proposals_dir=inside, pgm_features_dir=inside)
    files = open_features(inside)
    infos = [{"video_name": name, "duration_frame": 1, "duration_second": 1, "feature_frame": 1, "annotations": []}]
    readers = (
        lambda: files.read(name),
        lambda: load_proposals(name, top_k=3, **own),
        lambda: generate_candidate_proposals([0], infos, inside, 1, 0.5),
        lambda: generate_bsp_feature([0], infos, inside, inside),
    )
    for read in readers:
        with pytest.raises(FileNotFoundError, match=f"{inside}/secret~[0-9a-f]{{16}}."):
            read()
    assert files.among([name, "secret"]) == set()
    for suffix in (".csv", ".npy"):
        shutil.copy(tmp_path / f"v_one{suffix}", inside / f"{file_stem(name)}{suffix}")
    assert files.among([name, "secret"]) == {name} and all(read() is not None for read in readers)


def test_prepared_features_are_found_by_any_name(tmp_path):
    names = ["a/b", "v_a"]
    for name in names:
        save_feature(tmp_path / f"{file_stem(name)}.csv", np.full((2, 3), len(name)))
    prepare_features(sorted(tmp_path.glob("*.csv")), tmp_path / "set", processes=1)
    features = open_features(tmp_path / "set")
    assert features.among([*names, "b", "../a"]) == set(names)
    assert [features.read(name)[0, 0] for name in names] == [3.0, 3.0]


def test_only_the_table_of_videos_is_no_feature_file(tmp_path):
    for name in ("v_a.csv", "video_info_party.csv"):
        save_feature(tmp_path / name, np.ones((2, 3)))
    for name in ("video_info.csv", "video_info-00001-of-00002.csv"):
        (tmp_path / name).write_text("video,numFrame\nv_a,2\n")
    prepare_folder(tmp_path, str(tmp_path / "set"))
    assert open_features(tmp_path / "set").records.keys() == {"v_a", "video_info_party"}


def test_labels_name_the_video_without_length():
    with pytest.raises(ValueError, match=r"v_a: duration_frame, .* are \(100, 0, 80\); all must be > 0"):
        localization_labels(record(duration_second=0))
