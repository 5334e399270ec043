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


@pytest.mark.parametrize("recipe", ["bsn_sample", "bmn_sample", "ssn_sample", "tsm_shapes"])
def test_every_task_takes_the_digest_of_its_code(recipe, tmp_path):
    run = build(load_config(recipe).config.to_dict() | {"code": "a" * 16})
    if hasattr(run, "folder"):
        folder = run.folder(run.chain[0], tmp_path, mend=True)
        folder.save()
        assert "a" * 16 in (tmp_path / run.chain[0] / "stage.json").read_text()
    elif recipe == "ssn_sample":
        assert run.code == "a" * 16
