import numpy as np
import pytest
from data_cases import arrays, cases

from actjax.mmaction2 import INPUT_FORMATS, collect, compose, format_shape, normalize, to_array, transpose


def test_normalize_matches_golden():
    stored = arrays("normalize")
    for case in cases("normalize"):
        options = dict(case["args"])
        frames, expect = stored[case["input"]["key"]], case["expect"]
        if case["input"]["modality"] == "Flow":
            frames = np.stack([frames[0::2], frames[1::2]], axis=-1)
        if options.pop("adjust_magnitude", False):
            options["scale_factor"] = case["input"]["scale_factor"]
        out = normalize(frames, **options)
        assert out.dtype == np.float32 and list(out.shape) == expect["shape"]
        tolerance = 2e-6 * max(1, 1 / min(options["std"]))
        np.testing.assert_allclose(out, stored[expect["key"]], rtol=2e-6, atol=tolerance, err_msg=case["id"])


def counted(shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_format_shape_matches_golden():
    stored = arrays("format_shape")
    for case in cases("format_shape"):
        given = case["input"]
        counts = dict(num_clips=1, clip_len=1) | {
            key: given[key] for key in ("num_clips", "clip_len", "num_proposals") if key in given
        }
        out = format_shape(counted(given["shape"]), case["args"]["input_format"], **counts)
        np.testing.assert_array_equal(out, stored[case["expect"]["key"]], err_msg=case["id"])


def test_channels_last_is_the_same_with_axes_moved():
    frames = counted((12, 4, 5, 3))
    counts = dict(num_clips=2, clip_len=3)
    ours = format_shape(frames, "NTHWC", **counts)
    assert ours.shape == (4, 3, 4, 5, 3)
    np.testing.assert_array_equal(ours.transpose(0, 4, 1, 2, 3), format_shape(frames, "NCTHW", **counts))


def test_every_format_holds_every_number_once():
    frames = counted((12, 4, 5, 2))
    for input_format in INPUT_FORMATS:
        out = format_shape(frames, input_format, num_clips=2, clip_len=3, num_proposals=2)
        np.testing.assert_array_equal(np.sort(out, axis=None), frames.ravel())


def test_to_array_matches_golden():
    for case in cases("convert_collect_compose", "ToTensor"):
        value, dtype = case["input"]["value"], case["input"]["dtype"]
        if case["input"]["python_type"] == "ndarray":
            value = np.array(value, dtype)
        elif case["input"]["python_type"] == "tuple":
            value = tuple(value)
        array = to_array(value)
        assert (str(array.dtype), list(array.shape)) == (case["expect"]["dtype"], case["expect"]["shape"]), case["id"]
        assert array.tolist() == case["expect"]["value"]


def test_transpose_matches_golden():
    for case in cases("convert_collect_compose", "Transpose", "ImageToTensor"):
        order = case["args"].get("order", (2, 0, 1))
        out = transpose(np.array(case["input"]["value"], np.float32), order)
        assert list(out.shape) == case["expect"]["shape"] and out.tolist() == case["expect"]["value"], case["id"]


DEFAULT_META = ["filename", "label", "original_shape", "img_shape", "pad_shape", "flip_direction", "img_norm_cfg"]


def test_collect_matches_golden():
    for case in cases("convert_collect_compose", "Collect"):
        meta_keys = case["args"].get("meta_keys", DEFAULT_META)
        before = dict(case["input"])
        data, meta = collect(case["input"], case["args"]["keys"], meta_keys)
        assert data == {key: before[key] for key in case["args"]["keys"]}
        assert meta == case["expect"].get("meta", {}), case["id"]
        assert case["input"] == before


def test_compose_calls_in_order_and_stops_at_none():
    called = []

    def step(name, result):
        def function(value):
            called.append(name)
            return result(value)

        return function

    mixed = compose(step(1, lambda a: a), lambda a: transpose(a, (1, 0)), step(2, lambda a: a))
    assert mixed(np.zeros((2, 3))).shape == (3, 2) and called == [1, 2]
    called.clear()
    assert compose(step(1, lambda a: None), step(2, lambda a: a))(0) is None and called == [1]
    assert compose()({"k": 1}) == {"k": 1}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: normalize(np.zeros((1, 2, 2, 3)), mean=(0, 0), std=(1, 1)), ValueError, "one number for each of 3"),
        (lambda: normalize(np.zeros((1, 2, 2, 3)), mean=(0, 0, 0), std=(1, 0, 1)), ValueError, "must be positive"),
        (lambda: normalize(np.zeros((1, 2, 2, 2)), mean=(0, 0), std=(1, 1), to_bgr=True), ValueError, "only RGB"),
        (
            lambda: normalize(np.zeros((1, 2, 2, 3)), mean=(0, 0, 0), std=(1, 1, 1), scale_factor=(1, 1)),
            ValueError,
            "for flow",
        ),
        (lambda: format_shape(np.zeros((4, 2, 2, 3)), "NHWC", num_clips=1, clip_len=1), ValueError, "choose from"),
        (lambda: format_shape(np.zeros((5, 2, 2, 3)), "NCTHW", num_clips=2, clip_len=2), ValueError, "a multiple of 2"),
        (lambda: format_shape(np.zeros((8, 2, 2, 3)), "NPTCHW", num_clips=2, clip_len=2), ValueError, "1 \\* 2 \\* 2"),
        (lambda: transpose(np.zeros((2, 3)), (0, 0)), ValueError, "name each axis once"),
        (lambda: collect({"a": 1}, ["a", "b"], ["c"]), ValueError, r"lacks \['b', 'c'\]; it has \['a'\]"),
        (lambda: compose(len, 3), TypeError, "3 is not callable"),
        (lambda: to_array(np.array(["a"])), TypeError, "expected a number"),
        (lambda: to_array([[1, 2], [None, 3]]), ValueError, "numbers only"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
