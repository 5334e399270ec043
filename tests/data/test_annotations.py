import pytest

from actjax.data.annotations import load_annotations
from actjax.data.datasets import videos


def test_video_list(tmp_path):
    (tmp_path / "list.txt").write_text("a/one.mp4 0\n\n two words.mp4\t12 \n/abs/three.avi 3\n")
    records = load_annotations("videos", tmp_path / "list.txt")
    assert [(r.path, r.label) for r in records] == [
        (f"{tmp_path}/a/one.mp4", 0), (f"{tmp_path}/two words.mp4", 12), ("/abs/three.avi", 3),
    ]  # fmt: skip
    assert load_annotations("videos", tmp_path / "list.txt", data_prefix="/data")[0].path == "/data/a/one.mp4"


@pytest.mark.parametrize("line", ["one.mp4", "one.mp4 -1", "one.mp4 cat", "one.mp4 1.5", "7"])
def test_a_line_that_does_not_parse(tmp_path, line):
    (tmp_path / "list.txt").write_text(f"fine.mp4 0\n{line}\n")
    with pytest.raises(ValueError, match=f"list.txt, line 2: '{line}': expected 'FILE LABEL'"):
        load_annotations("videos", tmp_path / "list.txt")


def test_missing_and_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.txt does not exist"):
        load_annotations("videos", tmp_path / "nothing.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="holds no records"):
        load_annotations("videos", tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="choose from"):
        load_annotations("movies", tmp_path / "empty.txt")


def test_labels_and_names_must_fit_the_model(tmp_path):
    (tmp_path / "list.txt").write_text("one.mp4 3\n")
    (tmp_path / "names.txt").write_text("a\nb\n")
    lists = dict(train=str(tmp_path / "list.txt"), val=str(tmp_path / "list.txt"))
    with pytest.raises(ValueError, match="list.txt, line 1: .*label 3 needs model.num_classes > 3"):
        videos(**lists, num_classes=3)
    with pytest.raises(ValueError, match="holds 2 names; model.num_classes is 4"):
        videos(**lists, num_classes=4, class_names=str(tmp_path / "names.txt"))
    assert videos(**lists, num_classes=4).class_names == ["0", "1", "2", "3"]
