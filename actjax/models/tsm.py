"""TSN and TSM: a 2-d network over sparsely sampled frames, without and with temporal shift.

Shapes: b clips, t frames (segments) per clip, h w pixels, c channels, d features, k classes.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from actjax.errors import check_number
from actjax.models.backbones import check_called, check_paths, described, make_backbone
from actjax.models.freezing import Freezing
from actjax.models.non_local import NON_LOCAL_MODES, NonLocal
from actjax.models.temporal import Temporal, temporal_pool, temporal_shift, watched
from actjax.pixels.normalize import IMAGENET_MEAN, IMAGENET_STD, normalize

SHIFT_PLACES = ("blockres", "block")


class _Recognizer(nn.Module):
    """Base of TSN and TSM: uint8 clips, backbone over all frames, global average pooling, classifier.

    Attributes:
      num_classes: k; None stands in a config alone: the classes of its data.
      in_channels: c; 3 for RGB, 10 for five frames of flow.
      arch: a key of `BACKBONES`, or a network of your own, "package.module:Class"; see `actjax.models.backbones`.
      arch_options: {field: value} of other fields of that network; None: none.
      depth, width, small_input, style: see `ResNet`; width None: the published one. Only for networks that have them.
      frozen_stages, norm_eval, partial_bn: see `Freezing`.
      dropout: dropout rate before the classifier.
      init_std: standard deviation of the classifier's initial kernel.
      mean, std: of uint8 pixels, per channel or one for all. to_bgr: see `normalize`.
      dtype: "float32", "bfloat16" or "float16"; parameters, statistics and logits are always float32.
    """

    num_classes: int | None
    in_channels: int = 3
    arch: str = "resnet"
    depth: int = 50
    width: int | None = None
    small_input: bool = False
    style: str = "pytorch"
    frozen_stages: int = -1
    norm_eval: bool = False
    partial_bn: bool = False
    dropout: float = 0.5
    init_std: float = 0.001
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    to_bgr: bool = False
    dtype: Any = "float32"
    arch_options: Any = None

    def __post_init__(self):
        check_number("num_classes", self.num_classes, "[1, inf)", whole=True)
        check_number("dropout", self.dropout, "[0, 1]")
        check_number("init_std", self.init_std, "[0, inf)")
        super().__post_init__()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a small clip."""
        return (getattr(self, "num_segments", None) or 2, 32, 32, self.in_channels)

    @property
    def freezing(self) -> Freezing:
        """What is frozen. ValueError: more than the backbone can freeze."""
        flags = Freezing(self.frozen_stages, self.norm_eval, self.partial_bn)
        return flags._replace(stages=tuple(self.stages.values())) if flags.by_stage() else flags

    @property
    def stages(self) -> dict[str, str]:
        """{name: regular expression of whole parameter paths} of the stem and of each stage of the backbone.

        Raises:
          ValueError: the backbone does not tell.
        """
        own = described(self.network(parent=None), "stages")
        return {name: f"backbone/({pattern})" for name, pattern in own.items()}

    def network(self, temporal: Temporal = Temporal(), **linen) -> nn.Module:
        """The backbone; `linen`: its name or parent. ValueError: see `make_backbone`."""
        sizes = {name: getattr(self, name) for name in ("depth", "width", "small_input", "style")}
        return make_backbone(
            self.arch,
            self.arch_options,
            temporal=temporal,
            freezing=Freezing(self.frozen_stages, self.norm_eval, self.partial_bn),
            dtype=jnp.dtype(self.dtype),
            **{name: value for name, value in sizes.items() if value != getattr(_Recognizer, name)},
            linen=linen,
        )

    def features(self, video, *, train: bool, temporal: Temporal = Temporal()):
        """uint8 (normalised here) or float `[b, t, h, w, c]` -> float32 `[b, t', d]`; temporal pooling halves t."""
        frames = video.reshape(-1, *video.shape[2:])
        if frames.dtype == jnp.uint8:
            pixels = dict(mean=self.mean, std=self.std, to_bgr=self.to_bgr)
            frames = normalize(frames, **pixels, dtype=jnp.dtype(self.dtype))
        hooks, idle = watched(temporal)
        backbone = self.network(hooks, name="backbone")
        maps = backbone(frames, train=train)
        check_called(backbone, frames, maps, idle, pooled=temporal.before_stage is not Temporal().before_stage)
        if self.is_initializing():
            stages = self.stages if getattr(backbone, "stages", None) else {}
            check_paths(type(backbone).__name__, self.variables, stages, self.freezing)
        return maps.astype(jnp.float32).mean((1, 2)).reshape(len(video), -1, maps.shape[-1])

    def drop(self, x, *, train: bool):
        return nn.Dropout(self.dropout, deterministic=not train)(x)

    def classify(self, x):
        init = nn.initializers.normal(self.init_std)
        return nn.Dense(self.num_classes, kernel_init=init, name="fc_cls")(x)


class TSN(_Recognizer):
    """Temporal segment network: mean of the frames' features, dropout, classifier -> logits, float32 `[b, k]`.

    >>> import jax
    >>> model, clips = TSN(num_classes=3, depth=18), jnp.zeros((2, 8, 32, 32, 3), jnp.uint8)
    >>> logits = lambda key: model.init_with_output(key, clips)[0]
    >>> jax.eval_shape(logits, jax.random.key(0)).shape
    (2, 3)

    Source: Wang et al., arXiv:1608.00859; TSNHead of MMAction2 0.6.
    """

    dropout: float = 0.4
    init_std: float = 0.01

    @nn.compact
    def __call__(self, video, *, train: bool = False):
        features = self.features(video, train=train).mean(1)
        self.sow("intermediates", "embedding", features)
        return self.classify(self.drop(features, train=train))


class TSM(_Recognizer):
    """TSN with temporal shift in its backbone: dropout and classifier per frame, mean of the logits -> `[b, k]`.

    >>> import jax
    >>> model, clips = TSM(num_classes=3, depth=18), jnp.zeros((2, 8, 32, 32, 3), jnp.uint8)
    >>> logits = lambda key: model.init_with_output(key, clips)[0]
    >>> jax.eval_shape(logits, jax.random.key(0)).shape
    (2, 3)

    Attributes in addition to TSN's:
      num_segments: number of frames to shift among; None: all t frames of the clip.
      shift_div: 1 / shift_div of the channels moves each way.
      shift_place: "blockres": before the first convolution of every residual branch (of every second block in nets
        whose third stage has 23 blocks or more); "block": before every block, its shortcut included.
      temporal_pool: halve the number of frames before the second stage.
      non_local: per stage, a 1 for each block that a non-local block follows, e.g. ((0, 0, 0), (1, 0, 1, 0), ...);
        empty: none. non_local_mode: see `NonLocal`.

    Source: Lin et al., arXiv:1811.08383; MMAction2's ResNetTSM, MobileNetV2TSM and TSMHead.
    """

    num_segments: int | None = None
    shift_div: int = 8
    shift_place: str = "blockres"
    temporal_pool: bool = False
    non_local: tuple[tuple[int, ...], ...] = ()
    non_local_mode: str = "embedded_gaussian"

    def __post_init__(self):
        check_number("shift_div", self.shift_div, "[2, inf)", whole=True)
        super().__post_init__()

    @property
    def stages(self) -> dict[str, str]:
        """As in TSN, non-local blocks included."""
        stages = super().stages
        if not self.non_local:
            return stages
        return {
            name: rf"{pattern}|backbone/(.*/)?layer{k}_\d+_non_local/.*"
            for k, (name, pattern) in enumerate(stages.items())
        }

    @nn.compact
    def __call__(self, video, *, train: bool = False):
        self._check()
        temporal = self._temporal(self.num_segments or video.shape[1])
        features = self.features(video, train=train, temporal=temporal)
        self.sow("intermediates", "embedding", features.mean(1))
        return self.classify(self.drop(features, train=train)).mean(1)

    def _temporal(self, num_segments: int) -> Temporal:
        frames_in = lambda stage: num_segments // 2 if self.temporal_pool and stage > 0 else num_segments

        def shift(x, stage, block):
            if not self.shifts(stage, block):
                return x
            moved = temporal_shift(x, num_segments=frames_in(stage), shift_div=self.shift_div)
            return moved if x.shape[-1] >= self.shift_div else x  # the same values, and the hook counts as idle

        def pool(x, stage):
            return temporal_pool(x, num_segments=num_segments) if stage == 1 else x

        def attend(x, stage, block, *, train):
            if not self.non_local[stage][block]:
                return x
            name = f"layer{stage + 1}_{block}_non_local"
            return NonLocal(frames_in(stage), self.non_local_mode, dtype=jnp.dtype(self.dtype), name=name)(
                x, train=train
            )

        places = {"in_residual" if self.shift_place == "blockres" else "before_block": shift}
        places |= {"before_stage": pool} if self.temporal_pool else {}
        places |= {"after_block": attend} if any(map(any, self.non_local)) else {}
        return Temporal(**places)

    def shifts(self, stage: int, block: int) -> bool:
        """Whether frames are shifted in this block, if the backbone calls the hook there."""
        third = getattr(self.network(parent=None), "blocks", ())[2:3]
        return self.shift_place == "block" or max(third, default=0) < 23 or block % 2 == 0

    def _check(self) -> None:
        if self.shift_place not in SHIFT_PLACES:
            raise ValueError(f"TSM: shift_place={self.shift_place!r}; choose from {SHIFT_PLACES}")
        if self.non_local_mode not in NON_LOCAL_MODES:
            raise ValueError(f"TSM: non_local_mode={self.non_local_mode!r}; choose from {NON_LOCAL_MODES}")
        if self.non_local:
            blocks = tuple(described(self.network(parent=None), "blocks"))
            if tuple(map(len, self.non_local)) != blocks:
                raise ValueError(f"TSM: non_local={self.non_local}; needs one number for each block of {blocks}")


def embedding(model: _Recognizer, variables: dict, clips, *, what: str):
    """Clips `[n, v, t, h, w, c]` -> features averaged over the v crops, float32 `[n, k]` or `[n, d]`.

    >>> import jax
    >>> model, clips = TSN(num_classes=3, depth=18), jnp.zeros((2, 1, 8, 32, 32, 3), jnp.uint8)
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), clips[0])
    >>> apply = lambda variables: embedding(model, variables, clips, what="embedding")
    >>> jax.eval_shape(apply, variables).shape
    (2, 512)

    Args:
      what: "scores", the logits, or "embedding", the pooled features before the classifier.

    Raises:
      ValueError: the network does not store one array of features [n v, d].
    """
    n, v = clips.shape[:2]
    scores, state = model.apply(variables, clips.reshape(n * v, *clips.shape[2:]), mutable=["intermediates"])
    features = scores if what == "scores" else _sown_features(state.get("intermediates", {}).get("embedding"), n * v)
    return features.astype(jnp.float32).reshape(n, v, -1).mean(1)


def _sown_features(sown, n: int):
    """The features [n, d] that a network stores. ValueError: it stores none, several, or others."""
    hint = "let it call self.sow('intermediates', 'embedding', features) once, with features [b, d]"
    if sown is None:
        raise ValueError(f"embedding: the network stores no features; {hint}")
    if not isinstance(sown, tuple) or len(sown) != 1:
        found = f"{len(sown)} times" if isinstance(sown, tuple) else "by a reduce_fn of its own"
        raise ValueError(f"embedding: the network stores features {found}; {hint}")
    shape, dtype = getattr(sown[0], "shape", ()), getattr(sown[0], "dtype", None)
    if len(shape) != 2 or shape[0] != n or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"embedding: the network stores features {dtype} {list(shape)} for {n} clips; {hint}")
    return sown[0]
