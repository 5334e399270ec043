"""BMN: one network scores every pair of start and duration in a video.

MMAction2 0.6 samples features for all cells, `[b, 256, 32, t, t]`, and then convolves over the 32 samples: 1.3 GB a
step for four videos, and 50 G multiply-adds a video. Both maps are linear, so we convolve first, at t time steps
instead of t^2 cells, and sample only the cells inside the video: 8.6 G, and no array is larger than the output.

Shapes: b videos, t time steps, d durations (= t), s starts (= t), n samples, c features, k cells inside the video.
Source: Lin et al., ICCV 2019 (arXiv:1907.09702).
"""

import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from actjax.models.layers import Conv, Conv1d, torch_bias, torch_kernel

SAMPLINGS = ("contract", "gather")


class Maps(NamedTuple):
    """start, end: probabilities `[b, t]`. regression, classification: IoU of each cell, `[b, d, s]`. All float32."""

    start: Any
    end: Any
    regression: Any
    classification: Any


class BMN(nn.Module):
    """Features `[b, t, c]` -> `Maps`.

    >>> import jax
    >>> model, features = BMN(temporal_scale=20, feat_dim=32), jnp.zeros((2, 20, 32))
    >>> maps = jax.eval_shape(lambda key: model.init_with_output(key, features)[0], jax.random.key(0))
    >>> maps.start.shape, maps.regression.shape
    ((2, 20), (2, 20, 20))

    Attributes:
      temporal_scale: t. feat_dim: c.
      boundary_ratio: how far a cell's samples extend beyond each of its ends, as a share of its length.
      num_samples: n. num_samples_per_bin: points averaged into each sample.
      hidden_dim_1d, hidden_dim_2d, hidden_dim_3d: channels of the 1-d, 2-d and 3-d layers.
      sampling: "contract": one product with the sampling mask `[n * t, k]`, rebuilt from the table in every step:
        65 MB and 8.2 G multiply-adds a video at t = 100. "gather": row by row from the table, 7 MB and 0.5 G
        multiply-adds, but as many memory reads: 3 to 4 times slower on CPU.
      dtype: "float32" or "bfloat16".
    """

    temporal_scale: int = 100
    feat_dim: int = 400
    boundary_ratio: float = 0.5
    num_samples: int = 32
    num_samples_per_bin: int = 3
    hidden_dim_1d: int = 256
    hidden_dim_2d: int = 128
    hidden_dim_3d: int = 512
    sampling: str = "contract"
    dtype: Any = "float32"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.temporal_scale, self.feat_dim)

    @nn.compact
    def __call__(self, x) -> Maps:
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"model.sampling={self.sampling!r}; choose from {SAMPLINGS}")
        dtype = jnp.dtype(self.dtype)
        conv = functools.partial(Conv1d, self.hidden_dim_1d, dtype=dtype)
        x = nn.relu(conv(groups=math.gcd(4, self.feat_dim), name="base_0")(x))  # 4 in BMN, whose features are 400
        x = nn.relu(conv(groups=4, name="base_1")(x))
        boundaries = []
        for name in ("start", "end"):
            y = nn.relu(conv(groups=4, name=f"{name}_0")(x))
            y = Conv1d(1, kernel=1, dtype=dtype, name=f"{name}_1")(y)
            boundaries.append(nn.sigmoid(y[..., 0].astype(jnp.float32)))
        matching = BoundaryMatching(
            self.hidden_dim_3d,
            self.num_samples,
            self.num_samples_per_bin,
            self.boundary_ratio,
            self.sampling,
            dtype,
            name="map_3d",
        )
        cells = matching(nn.relu(conv(name="map_1d")(x)))
        conv = functools.partial(Conv, bias=True, kernel_init=torch_kernel, bias_init=torch_bias, dtype=dtype)
        reduce = conv(self.hidden_dim_2d, kernel=1, name="map_2d_0")
        y = on_map(nn.relu(reduce(cells[:, None]))[:, 0], self.temporal_scale)
        y = nn.relu(conv(self.hidden_dim_2d, name="map_2d_1")(y))
        y = nn.relu(conv(self.hidden_dim_2d, name="map_2d_2")(y))
        y = nn.sigmoid(conv(2, kernel=1, name="map_2d_3")(y).astype(jnp.float32))
        return Maps(*boundaries, y[..., 0], y[..., 1])


class BoundaryMatching(nn.Module):
    """Samples each cell and convolves over its samples, `[b, t, c] -> [b, k + 1, f]`; the last row: outside the video.

    Attributes: features: f. Others as in `BMN`.
    """

    features: int
    num_samples: int
    num_samples_per_bin: int
    boundary_ratio: float
    sampling: str
    dtype: Any

    @nn.compact
    def __call__(self, x):
        b, t, c = x.shape
        n, f = self.num_samples, self.features
        kernel = self.param("kernel", torch_kernel, (n, c, f)).astype(self.dtype)
        bias = self.param("bias", torch_bias(n * c), (f,)).astype(self.dtype)
        table = sampling_table(t, n, self.num_samples_per_bin, self.boundary_ratio)
        if self.sampling == "contract":
            places = jnp.einsum("btc,ncf->bfnt", x, kernel).reshape(b * f, n * t)
            mask = table.mask(t).astype(self.dtype).reshape(n * t, -1)
            cells = (places @ mask).reshape(b, f, -1).transpose(0, 2, 1)
        else:
            cells = self._gather(jnp.einsum("btc,ncf->nbtf", x, kernel), table)
        return nn.relu(jnp.pad(cells, ((0, 0), (0, 1), (0, 0))) + bias)  # cells outside the video: the bias alone

    @staticmethod
    def _gather(places, table: "SamplingTable"):
        """Sums `places`, `[n, b, t, f]`, over each cell's samples, one sample at a time to save memory."""

        def add(total, sample):
            values, place, weight = sample
            return total + jnp.einsum("bkjf,kj->bkf", values[:, place], weight.astype(values.dtype)), None

        _, b, _, f = places.shape
        start = jnp.zeros((b, table.place.shape[1], f), places.dtype)
        return jax.lax.scan(jax.checkpoint(add), start, (places, *map(jnp.asarray, table)))[0]


class SamplingTable(NamedTuple):
    """Each sample of a cell is a weighted sum of up to j time steps; their indices and weights, `[n, k, j]`.

    Only cells inside the video, ordered by duration, then start. Unused entries have weight 0.
    """

    place: np.ndarray  # int32
    weight: np.ndarray  # float32

    def mask(self, temporal_scale: int):
        """The table as a dense matrix `[n, t, k]`."""
        time = jnp.arange(temporal_scale)[:, None]
        place, weight = (jnp.moveaxis(jnp.asarray(part), -1, 0)[:, :, None] for part in self)
        return sum(w * (p == time) for p, w in zip(place, weight, strict=True))


@functools.lru_cache(maxsize=4)
def sampling_table(temporal_scale: int, num_samples: int, num_samples_per_bin: int, ratio: float) -> SamplingTable:
    """The samples of all cells inside the video.

    A cell's points are evenly spaced from `ratio` of its length before its start to the same distance after its end.
    Each point is interpolated between its two neighbouring steps; each sample is the mean of `num_samples_per_bin`
    points. Kept from MMAction2: points beyond the first or last step are dropped, but a point less than one step
    before the first counts fully towards it.
    """
    duration, start = np.indices((temporal_scale, temporal_scale)).reshape(2, -1)
    inside = duration + start < temporal_scale
    duration, start = duration[inside], start[inside]
    length, points = duration + 1.0, num_samples * num_samples_per_bin
    low, high = start - length * ratio, start + duration + length * ratio
    point = low[:, None] + ((high - low) / (points - 1.0))[:, None] * np.arange(points)
    after, before = np.modf(point)  # towards 0, with the sign of the point
    place = np.stack([before, np.ceil(point)], axis=-1).astype(np.int64)
    weight = np.stack([1 - after, after], axis=-1) / num_samples_per_bin
    weight = np.where((place >= 0) & (place < temporal_scale), weight, 0)
    shape = (len(start), num_samples, num_samples_per_bin * 2)
    return SamplingTable(*_merged(place.reshape(shape), weight.reshape(shape), temporal_scale))


def _merged(place, weight, temporal_scale: int):
    """[k, n, j] -> [n, k, j']: merges repeated steps and drops steps of weight 0."""
    samples = []
    for steps, weights in zip(place.swapaxes(0, 1), weight.swapaxes(0, 1), strict=True):  # one at a time saves memory
        dense = np.zeros((len(place), temporal_scale))
        np.add.at(dense, (np.arange(len(place))[:, None], np.clip(steps, 0, temporal_scale - 1)), weights)
        order = np.argsort(dense == 0, axis=1, kind="stable")[:, : steps.shape[1]]
        samples.append((order, np.take_along_axis(dense, order, axis=1)))
    orders, weights = map(np.stack, zip(*samples, strict=True))
    used = int((weights != 0).sum(-1).max())
    return orders[..., :used].astype(np.int32), weights[..., :used].astype(np.float32)


def on_map(rows, temporal_scale: int):
    """Rows of the cells inside the video, then one row for all cells outside it: `[b, k + 1, c] -> [b, d, s, c]`."""
    duration, start = np.indices((temporal_scale, temporal_scale))
    first = np.cumsum(np.arange(temporal_scale, 0, -1)) - np.arange(temporal_scale, 0, -1)
    inside = duration + start < temporal_scale
    return rows[:, np.where(inside, first[:, None] + start, rows.shape[1] - 1)]
