"""Which layers of a backbone train, and which batch norms keep their running statistics in training."""

from typing import NamedTuple


class Freezing(NamedTuple):
    """The frozen parts of a backbone. Source: ResNet of MMAction2 0.6.

    frozen_stages: -1: none; k >= 0: the stem and the first k stages, parameters and statistics.
    norm_eval: every batch norm uses its running statistics; scales and biases train.
    partial_bn: every batch norm but the stem's uses its running statistics and has its scale and bias frozen. Batch
      norms of non-local blocks train.
    """

    frozen_stages: int = -1
    norm_eval: bool = False
    partial_bn: bool = False

    def stem(self, train: bool) -> bool:
        """Whether the stem's batch norm uses batch statistics."""
        return train and not self.norm_eval and self.frozen_stages < 0

    def stage(self, stage: int, train: bool) -> bool:
        """Whether batch norms of `stage` (0, 1, ...) use batch statistics."""
        return self.added(stage, train) and not self.partial_bn

    def added(self, stage: int, train: bool) -> bool:
        """Whether batch norms of non-local blocks in `stage` use batch statistics."""
        return train and not self.norm_eval and stage >= self.frozen_stages

    def patterns(self) -> tuple[str, ...]:
        """Regular expressions for `training.param_groups` that match the full paths of frozen parameters."""
        patterns = []
        if self.frozen_stages >= 0:
            patterns += [r"backbone/stem/.*"]
            patterns += [rf"backbone/layer{k}_.*" for k in range(1, self.frozen_stages + 1)]
        if self.partial_bn:
            patterns += [r"backbone/(?!stem/|\w*non_local).*/bn/(scale|bias)"]
        return tuple(patterns)
