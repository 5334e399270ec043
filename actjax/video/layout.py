"""Rendered pictures -> the layouts, types and dictionaries the reference's pipelines end with.

Training does not pass here: it sends uint8 [v, t, h, w, c] to the device, which normalizes there. These functions give
the same numbers in NumPy, for exporting, comparing, and feeding networks of other frameworks.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

INPUT_FORMATS = ("NCHW", "NCTHW", "NCHW_Flow", "NPTCHW", "NTHWC")


def normalize(frames: np.ndarray, *, mean, std, to_bgr: bool = False, scale_factor=None) -> np.ndarray:
    """`(frames - mean) / std` per channel -> float32 [..., c].

    Args:
      frames: [..., c], RGB or flow (x, y).
      mean, std: one number per channel, in the order of the channels that come out.
      to_bgr: reverse the channels first.
      scale_factor: what flow is multiplied by, x and y: `views.scale_factor(view)` (the reference's
        `adjust_magnitude=True`). None: nothing.

    Raises:
      ValueError: not one mean and std per channel, a std that is not positive, `to_bgr` without three channels, a
        `scale_factor` without two. Source: the API entry Normalize.
    """
    channels = frames.shape[-1]
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for name, values in dict(mean=mean, std=std).items():
        if values.shape != (channels,):
            raise ValueError(
                f"normalize: {name}={values.tolist()}; expected one number for each of {channels} channels"
            )
    if not (std > 0).all():
        raise ValueError(f"normalize: std={std.tolist()}; every value must be positive")
    if to_bgr and channels != 3:
        raise ValueError(f"normalize: to_bgr=True for {channels} channels; only RGB can be reversed")
    out = ((frames[..., ::-1] if to_bgr else frames) - mean) / std
    if scale_factor is None:
        return out
    if channels != 2 or np.shape(scale_factor) != (2,):
        raise ValueError(f"normalize: scale_factor={scale_factor} for {channels} channels; it has x, y and is for flow")
    return out * np.asarray(scale_factor, np.float32)


def format_shape(
    frames: np.ndarray, input_format: str, *, num_clips: int, clip_len: int, num_proposals: int = 1
) -> np.ndarray:
    """Frames in the layout of a network's input.

    Args:
      frames: [m, h, w, c], m = crops * clips * frames of a clip, in this order (as `render` gives them).
      input_format: "NCHW" -> [m, c, h, w]; "NCTHW" -> [crops * clips, c, t, h, w]; "NTHWC" -> [crops * clips, t, h,
        w, c]; "NCHW_Flow" -> [crops * clips, t * c, h, w], channels x0, y0, x1, y1, ...; "NPTCHW" -> [proposals,
        clips * t, c, h, w].
      num_clips: clips of a video, or of a proposal.
      clip_len: frames t of a clip.
      num_proposals: for "NPTCHW".

    Raises:
      ValueError: an unknown format, or m that is no multiple of the clips' frames ("NPTCHW": not exactly
        proposals * clips * t; "NCHW": any m). Source: the API entry FormatShape; "NTHWC" is ours.
    """
    if input_format not in INPUT_FORMATS:
        raise ValueError(f"format_shape: input_format={input_format!r}; choose from {INPUT_FORMATS}")
    m, h, w, c = frames.shape
    if input_format == "NCHW":
        return frames.transpose(0, 3, 1, 2)
    if input_format == "NPTCHW":
        if m != num_proposals * num_clips * clip_len:
            raise ValueError(
                f"format_shape: {m} frames; expected num_proposals * num_clips * clip_len = "
                f"{num_proposals} * {num_clips} * {clip_len}"
            )
        return frames.reshape(num_proposals, num_clips * clip_len, h, w, c).transpose(0, 1, 4, 2, 3)
    if m % (num_clips * clip_len):
        raise ValueError(f"format_shape: {m} frames; expected a multiple of {num_clips} clips of {clip_len}")
    clips = frames.reshape(m // clip_len, clip_len, h, w, c)
    if input_format == "NTHWC":
        return clips
    if input_format == "NCTHW":
        return clips.transpose(0, 4, 1, 2, 3)
    return clips.transpose(0, 1, 4, 2, 3).reshape(m // clip_len, clip_len * c, h, w)


def transpose(array: np.ndarray, order) -> np.ndarray:
    """Axes in another order: `(2, 0, 1)` makes [h, w, c] to [c, h, w].

    Raises:
      ValueError: `order` does not name every axis once. Source: the API entries Transpose, ImageToTensor.
    """
    if sorted(order) != list(range(array.ndim)):
        raise ValueError(f"transpose: order={tuple(order)} of an array {array.shape}; name each of its axes once")
    return array.transpose(order)


def to_array(value) -> np.ndarray:
    """A number, list or array as an array: whole numbers (and bools) int64, others float32, one number [1].

    An array keeps its type.

    Raises:
      TypeError: neither of these (text, None, a NumPy scalar). ValueError: a list of something else than numbers.
      Source: the API entry ToTensor.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return value
    if not isinstance(value, (int, float, list, tuple)):
        raise TypeError(f"to_array: {value!r} of type {type(value).__name__}; expected a number, a list or an array")
    array = np.atleast_1d(np.array(value))
    if array.dtype.kind not in "biuf":
        raise ValueError(f"to_array: {value!r}; expected numbers only")
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def collect(record: Mapping, keys: Iterable[str], meta_keys: Iterable[str]) -> tuple[dict, dict]:
    """Two new dictionaries out of `record`: what `keys` name, and what `meta_keys` name.

    Raises:
      ValueError: a name that `record` lacks. Source: the API entry Collect; a batch is a dictionary of arrays, so
      DataContainer has no counterpart.
    """
    keys, meta_keys = list(keys), list(meta_keys)
    missing = [key for key in keys + meta_keys if key not in record]
    if missing:
        raise ValueError(f"collect: the record lacks {missing}; it has {sorted(record)}")
    return {key: record[key] for key in keys}, {key: record[key] for key in meta_keys}


def compose(*functions: Callable) -> Callable:
    """One function that calls `functions` in turn, each with what the one before gave; None ends the chain.

    Raises:
      TypeError: something that cannot be called. Source: the API entry Compose.
    """
    for function in functions:
        if not callable(function):
            raise TypeError(f"compose: {function!r} is no function")

    def composed(value):
        for function in functions:
            if value is None:
                break
            value = function(value)
        return value

    return composed
