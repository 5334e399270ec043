"""Bad input: what the reference refuses, and what its fixes should refuse, row by row of errors.json."""

import numpy as np
import pytest
from data_cases import cases, turned

from actjax import mmaction2 as layout
from actjax.video import views
from actjax.video.rendering import render
from actjax.video.sampling import dense_sample_frames, sample_frames, untrimmed_sample_frames
from actjax.video.ssn_sampling import sample_proposal_frames

OURS = {
    "SampleFrames", "DenseSampleFrames", "UntrimmedSampleFrames", "SampleProposalFrames", "RandomCrop",
    "RandomResizedCrop", "MultiScaleCrop", "CenterCrop", "ThreeCrop", "TenCrop", "MultiGroupCrop", "Resize", "Flip",
    "Normalize", "Fuse", "FormatShape", "Collect", "Compose", "ToTensor", "ImageToTensor", "Transpose",
    "ToDataContainer",
}  # fmt: skip

ARGUMENT = "an argument that Python itself asks for: there is no record with keys to forget"
STATE = "a view composes after every other view, and nothing is pending: there is no lazy state"
REGISTRY = "functions are called, not looked up by a type name in a dict"
NOT_APPLICABLE = {
    "err-SampleFrames-002": ARGUMENT,
    "err-SampleFrames-003": "indices count from 0; readers of numbered files add their start",
    "err-Flip-052": ARGUMENT,
    "err-Normalize-057": "flow is [n, h, w, 2]: its components cannot be odd in number",
    "err-Normalize-059": "the magnitude is adjusted by giving the scale_factor itself",
    "err-Fuse-061": "the untouched view of a frame renders to the frame",
    "err-CenterCrop-062": STATE,
    "err-CenterCrop-063": STATE,
    "err-Resize-064": STATE,
    "err-Flip-065": STATE,
    "err-FormatShape-066": "NTHWC is a format of ours",
    "err-FormatShape-067": ARGUMENT,
    "err-FormatShape-069": "num_proposals is 1 unless it is given",
    "err-Collect-071": "meta_keys have no default",
    "err-Compose-072": REGISTRY,
    "err-Compose-074": REGISTRY,
    "err-Compose-075": REGISTRY,
    "err-ToTensor-080": ARGUMENT,
    "err-ToDataContainer-083": "no containers: a batch is a dictionary of arrays",
}

HALF = np.full(64, 0.5, np.float32)
VALUES = {"string": "string", "None": None, "numpy scalar": np.float32(1), "list of strings": ["a", "b"]}


def sampled(sampler, case, u):
    args = dict(case["args"])
    options = {key: value for key, value in args.items() if key != "test_mode"}
    return sampler(case["input"].get("total_frames", 20), u=None if args.get("test_mode") else u, **options)


def proposed(case):
    mode, given = case["args"].get("mode", "train"), case["input"]
    proposals = given.get("proposals", given.get("out_proposals"))
    u = None if mode == "test" else HALF[:9].reshape(1, 9)
    return sample_proposal_frames(given.get("total_frames", 20), proposals, u=u, **case["args"])


def seen(function, **draws):
    """A function of views, on the picture of the case."""

    def call(case):
        args = {key: turned(v) if "size" in key and key != "size" else v for key, v in case["args"].items()}
        return function(*case["input"].get("img_shape", (10, 20)), **args, **draws)

    return call


def resized(case):
    args = dict(case["args"])
    interpolation = args.pop("interpolation", "bilinear")
    if case["why"] != "list":  # else a list is what is wrong
        args["scale"] = turned(args["scale"])
    return render(np.zeros((1, 10, 20, 3), np.uint8), views.resize(10, 20, **args), interpolation=interpolation)


def flipped(case):
    view = views.flip(4, 4, u=HALF[0], **case["args"])
    return render(np.zeros((1, 4, 4, 2), np.uint8), view, modality=case["input"]["modality"])


def normalized(case):
    args, modality = case["args"], case["input"].get("modality", "RGB")
    frames = np.zeros((1, 4, 4, 2 if modality == "Flow" else 3), np.uint8)
    if "ndarray" in case["why"]:
        args = args | dict(mean=np.array(args["mean"]))
    return layout.normalize(render(frames, views.whole(4, 4), modality=modality), **args)


def formatted(case):
    shape, counts = case["input"]["imgs_shape"], {k: v for k, v in case["input"].items() if k != "imgs_shape"}
    return layout.format_shape(np.zeros(shape), case["args"]["input_format"], **counts)


CALLS = {
    "SampleFrames": lambda case: sampled(sample_frames, case, HALF[: case["args"].get("num_clips", 1)]),
    "DenseSampleFrames": lambda case: sampled(dense_sample_frames, case, HALF[:1]),
    "UntrimmedSampleFrames": lambda case: untrimmed_sample_frames(case["input"]["total_frames"], **case["args"]),
    "SampleProposalFrames": proposed,
    "RandomCrop": seen(views.random_crop, u=HALF[:2]),
    "RandomResizedCrop": seen(views.random_resized_crop, u=HALF[:22]),
    "MultiScaleCrop": seen(views.multi_scale_crop, u=HALF[:3]),
    "CenterCrop": seen(views.center_crop),
    "ThreeCrop": seen(views.three_crop),
    "TenCrop": seen(views.ten_crop),
    "MultiGroupCrop": lambda case: seen(
        views.multi_group_crop, u=HALF[: 2 * int(case["args"]["groups"])].reshape(-1, 2)
    )(case),
    "Resize": resized,
    "Flip": flipped,
    "Normalize": normalized,
    "FormatShape": formatted,
    "Collect": lambda case: layout.collect(dict.fromkeys(case["input"]["results_keys"]), **case["args"]),
    "Compose": lambda case: layout.compose(*case["args"]["positional"][0]),
    "ToTensor": lambda case: layout.to_array(VALUES[case["input"]["a"]]),
    "ImageToTensor": lambda case: layout.transpose(np.zeros((2, 3)), (2, 0, 1)),
    "Transpose": lambda case: layout.transpose(np.zeros((2, 3, 4)), case["args"]["order"]),
}


ROWS = [case for case in cases("errors") if case["fn"] in OURS]


def test_every_row_is_either_tested_or_has_a_reason():
    assert set(NOT_APPLICABLE) <= {case["id"] for case in ROWS}
    assert {case["fn"] for case in ROWS if case["id"] not in NOT_APPLICABLE} == set(CALLS)


@pytest.mark.parametrize(
    "case", [case for case in ROWS if case["id"] not in NOT_APPLICABLE], ids=lambda case: case["id"]
)
def test_bad_input_is_refused(case):
    if case["may_succeed"]:
        result = CALLS[case["fn"]](case)
        if isinstance(result, views.View):  # sound: it lies in the picture
            height, width = case["input"].get("img_shape", (10, 20))
            x0, y0, x1, y1 = result.box
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        return
    with pytest.raises(Exception) as caught:  # noqa: B017
        CALLS[case["fn"]](case)
    assert {kind.__name__ for kind in type(caught.value).__mro__} & set(case["accept"]), caught.value
