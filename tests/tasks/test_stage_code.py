"""Outputs of a stage belong to the code that made them."""

import pytest

from actjax.config.files import load_config
from actjax.tasks import build
from actjax.tasks.stage_folder import StageFolder


def test_outputs_of_other_code_are_made_again(tmp_path):
    folder = StageFolder(tmp_path, "tem", {"data": {"name": "mine:data"}}, mend=True, code="a" * 16)
    folder.mark("train")
    assert StageFolder(tmp_path, "tem", {"data": {"name": "mine:data"}}, mend=True, code="a" * 16).done == ["train"]
    with pytest.raises(ValueError, match="was made with another config: code was .a+., is .b+."):
        StageFolder(tmp_path, "tem", {"data": {"name": "mine:data"}}, mend=False, code="b" * 16)
    other = StageFolder(tmp_path, "tem", {"data": {"name": "mine:data"}}, mend=True, code="b" * 16)
    assert other.done == [] and not (tmp_path / "tem.old").exists()
    other.begin()
    assert (tmp_path / "tem.old").is_dir()


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "../a/x", "a/../../../x", "..", "a/../../b/x"])
def test_no_file_outside_of_the_workdir_is_removed(name, tmp_path):
    """A strange workdir may list any files as outputs to be made again."""
    folder = StageFolder(tmp_path, "tem", {}, mend=True)
    (tmp_path / "results.json").write_text("{}")
    folder.mark("infer", tmp_path / "results.json")
    assert StageFolder(tmp_path, "tem", {}, mend=True).check("infer")
    (tmp_path / "results.json").write_text("[]")
    assert not StageFolder(tmp_path, "tem", {}, mend=True).check("infer") and not (tmp_path / "results.json").exists()
    stage = tmp_path / "tem" / "stage.json"
    stage.write_text(stage.read_text().replace("../results.json", name))
    with pytest.raises(ValueError, match=r"stage\.json is damaged"):
        StageFolder(tmp_path, "tem", {}, mend=True)


@pytest.mark.parametrize("recipe", ["bsn_sample", "bmn_sample", "ssn_sample", "tsm_shapes"])
def test_every_task_takes_the_digest_of_its_code(recipe, tmp_path):
    run = build(load_config(recipe).config.to_dict() | {"code": "a" * 16})
    if hasattr(run, "folder"):
        folder = run.folder(run.chain[0], tmp_path, mend=True)
        folder.save()
        assert "a" * 16 in (tmp_path / run.chain[0] / "stage.json").read_text()
    elif recipe == "ssn_sample":
        assert run.code == "a" * 16
