"""What fails in the reference fails here with the same type of error and a message, or is mended as recommended."""

import builtins

import numpy as np
import pytest
from golden_cases import decode, read_json

from actjax import localization, metrics

CASES = [case for case in read_json("bad_input.json") if "described" not in case["args"]]
BY_HAND = [case["id"] for case in read_json("bad_input.json") if "described" in case["args"]]


def call(case):
    function = getattr(metrics, case["function"], None) or getattr(localization, case["function"])
    return function(**{{"dim": "axis"}.get(k, k): decode(v) for k, v in case["args"].items()})


@pytest.mark.parametrize("case", [c for c in CASES if c["recommend"] == "keep"], ids=lambda c: c["id"])
def test_fails_with_the_type_of_the_reference(case):
    kind = getattr(builtins, case["raises"], None) or getattr(np.exceptions, case["raises"])
    with pytest.raises(kind) as error:
        call(case)
    assert len(str(error.value)) > 20  # says what is wrong


@pytest.mark.parametrize("case", [c for c in CASES if c["recommend"].startswith("fix")], ids=lambda c: c["id"])
def test_is_mended(case):
    assert call(case) is not None


@pytest.mark.parametrize("case", [c for c in CASES if c["recommend"] == "either"], ids=lambda c: c["id"])
def test_fails_with_a_message_or_gives_a_result(case):
    try:
        assert call(case) is not None
    except (ValueError, TypeError) as error:
        assert len(str(error)) > 20


def test_mended_values():
    by_id = {case["id"]: case for case in CASES}
    assert np.isfinite(call(by_id["ar_empty_1d_proposals"]).auc)
    assert np.isfinite(call(by_id["ar_empty_1d_gt"]).auc)
    assert call(by_id["ar_list_thresholds"]).recall.shape == (1, 100)
    assert np.isnan(call(by_id["ap_gt_empty_list"])).all()  # no ground truth at all
    for rows in call(by_id["gcp_no_annotation"]).values():
        assert len(rows) and not rows[:, 5:].any()
    assert next(iter(call(by_id["bsp_single_proposal"]).values())).shape == (1, 32)


def test_every_case_that_needs_a_data_set_is_tested_by_hand(root):
    tested = "".join(path.read_text() for path in (root / "tests").rglob("test_*.py"))
    elsewhere = {"anet_data_prefix_none"}  # there is no folder to pass here
    assert [name for name in BY_HAND if name not in elsewhere and f"# {name}" not in tested] == []
