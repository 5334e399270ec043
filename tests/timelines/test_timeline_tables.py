"""Tables and result files of segments: what is written is read back, and scored as by the official toolkit."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actjax.metrics.__main__ import main as metrics
from actjax.timelines import Timeline, read_csv, read_results, write_csv, write_results

NAMES = ["run, fast", 'a "b"', "two\nlines", " spaces ", "sep=;", "läuft 跳跃", "=1+1", "\ttab", "x;y", "😀"]
names = st.sampled_from(NAMES) | st.text(min_size=1, max_size=12).map(lambda s: s.replace("\0", "0").replace("\r", "r"))
names = names.filter(lambda name: name.encode(errors="replace").decode() == name)
numbers = st.floats(-10, 1e5) | st.sampled_from([0.1 + 0.2, 1 / 3, 5e-324, 1e-7, 86399.999999999])


@st.composite
def timelines(draw):
    """Videos of different names, all with classes or all without."""
    videos = draw(st.lists(names.filter(lambda name: not name.startswith("v_")), unique=True, max_size=4))
    classified = draw(st.booleans())
    found = []
    for video in videos:
        rows = []
        for start, length, score in draw(st.lists(st.tuples(numbers, st.floats(0, 50), st.floats(0, 1)), max_size=5)):
            row = {"segment": [start, start + length], "score": score}
            rows.append(row | ({"class": draw(names)} if classified else {}))
        found.append(Timeline(video, 60.0, rows))
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "found"


@given(timelines())
def test_what_is_written_is_read_back(file, found):
    expected = {timeline.video: timeline.segments for timeline in found if timeline.segments}
    write_csv(file, found)
    assert read_csv(file) == expected
    write_results(file, found)
    assert read_results(file) == expected


def test_a_table_is_what_other_programs_expect(tmp_path):
    rows = [{"segment": (0.1 + 0.2, 9), "score": 1 / 3, "class": 'jump, "high"\nand far', "label": 3}]
    write_csv(tmp_path / "found.csv", [Timeline("a,b", 60.0, rows), Timeline("none", 60.0, [])])
    quoted = b'"a,b",0.30000000000000004,9.0,"jump, ""high""\nand far",0.3333333333333333\r\n'
    assert (tmp_path / "found.csv").read_bytes() == b"video,start,end,class,score\r\n" + quoted
    with open(tmp_path / "found.csv", newline="") as file:
        (read,) = csv.DictReader(file)
    assert read["class"] == rows[0]["class"] and float(read["start"]) == 0.1 + 0.2


def test_names_that_no_table_holds(tmp_path):
    write_csv(
        tmp_path / "found.csv", [Timeline("a\r\nb\udc80", 60.0, [{"segment": [0, 1], "score": 1, "class": "c\rd"}])]
    )
    assert read_csv(tmp_path / "found.csv") == {"a\nb\\udc80": [{"segment": [0, 1], "score": 1, "class": "c\nd"}]}


TRUTH = {"database": {"a": {"subset": "validation", "duration": 60.0,
                            "annotations": [{"segment": [1, 9], "label": "jump"}]}}}  # fmt: skip


@pytest.mark.parametrize("task", ["detection", "proposals"])
def test_the_official_tasks_score_a_result_file(tmp_path, capsys, task):
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    row = {"segment": [1, 9], "score": 0.5} | ({"class": "jump"} if task == "detection" else {})
    write_results(tmp_path / "found.json", [Timeline("v_a", 60.0, [row])])
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["version"] == "VERSION 1.3" and [*content["results"]] == ["a"]
    metrics([f"activitynet-{task}", "--ground-truth", str(tmp_path / "truth.json"), "--subset", "validation",
             "--predictions", str(tmp_path / "found.json")])  # fmt: skip
    told = "mAP@0.50" if task == "detection" else "AR@1"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if f" {told} " in line]
    assert "1.0" in line


def test_videos_without_segments_are_in_a_result_file(tmp_path):
    write_results(tmp_path / "found.json", [Timeline("a", 60.0, [])])
    assert json.loads((tmp_path / "found.json").read_text())["results"] == {"a": []}
    assert read_results(tmp_path / "found.json") == {}


GOOD = {"segment": [1, 2], "score": 0.5}


@pytest.mark.parametrize(
    ("timeline", "message"),
    [
        (Timeline("a", 0, []), "video 'a': seconds=0; must be a number in"),
        (Timeline("", 9.0, []), "video '': its name is ''; expected text"),
        (Timeline("a" * 1001, 9.0, []), "its name has 1001 characters; at most 1000"),
        (Timeline("a", 9.0, [{"segment": [1, 2]}]), "video 'a': a segment has no 'score'"),
        (Timeline("a", 9.0, [GOOD | {"segment": 3}]), "video 'a': the segment 3 is not"),
        (Timeline("a", 9.0, [GOOD | {"segment": [1, 2, 3]}]), r"the segment \[1, 2, 3\] is not"),
        (Timeline("a", 9.0, [GOOD, GOOD | {"segment": [2, 1]}]), "segment 1 is .*its end is before its start"),
        (Timeline("a", 9.0, [GOOD | {"segment": ["1", 2]}]), "segment 0: expected numbers"),
        (Timeline("a", 9.0, [GOOD | {"score": float("nan")}]), "the score of segment 0 is nan"),
        (Timeline("a", 9.0, [GOOD, GOOD | {"class": "run"}]), "segment 0 has no class, others have one"),
        (Timeline("a", 9.0, [GOOD | {"class": 3}]), "the class of segment 0 is 3; expected text"),
        (Timeline("a", 9.0, [GOOD | {"class": "a\0"}]), "the class of segment 0 is 'a.x00'"),
        (Timeline("a", 9.0, [], [{"segment": [1, 2]}]), "ground truth of 'a': .*has no label"),
    ],
)
def test_what_is_no_timeline(tmp_path, timeline, message):
    for write in (write_csv, write_results):
        with pytest.raises(ValueError, match=message) as error:
            write(tmp_path / "found", [timeline])
        assert len(str(error.value)) < 400 and not (tmp_path / "found").exists()


def test_a_result_file_is_of_one_kind_and_has_each_video_once(tmp_path):
    classified = Timeline("b", 9.0, [GOOD | {"class": "run"}])
    with pytest.raises(ValueError, match="'b' has classes, 'a' has none; write two files"):
        write_results(tmp_path / "found.json", [Timeline("a", 9.0, [GOOD]), classified])
    with pytest.raises(ValueError, match="2 results for 1 videos"):
        write_results(tmp_path / "found.json", [classified, Timeline("v_b", 9.0, [])])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,start,end,score\na,1,2,0.5\n", "found.csv, line 2: no class; expected the columns video,start,end"),
        ("video,start,end,class,score\na,1,x,,0.5\n", "found.csv, line 2: end is 'x'; expected a finite number"),
        ("video,start,end,class,score\na,1,1_0,,0.5\n", "end is '1_0'; expected a finite number"),
        ("video,start,end,class,score\na,1,inf,,0.5\n", "end is 'inf'; expected a finite number"),
        ("video,start,end,class,score\na,3,2,,0.5\n", "found.csv, line 2: the segment is .*its end is before"),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    (tmp_path / "found.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "found.csv")
