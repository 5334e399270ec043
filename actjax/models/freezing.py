"""Which layers of a backbone train, and which batch norms keep their running statistics in training."""

from typing import NamedTuple


class Freezing(NamedTuple):
    """What stays as it is while the rest trains. Source: the API entry ResNet.

    frozen_stages: -1: nothing; k >= 0: the stem and the first k stages, parameters and statistics.
    norm_eval: every batch norm normalises by its running statistics; scales and biases train.
    partial_bn: every batch norm but the stem's normalises by its running statistics, its scale and bias frozen; those
      of non-local blocks train.
    """

    frozen_stages: int = -1
    norm_eval: bool = False
    partial_bn: bool = False

    def stem(self, train: bool) -> bool:
        """Whether the stem's batch norm uses the batch's statistics."""
        return train and not self.norm_eval and self.frozen_stages < 0

    def stage(self, stage: int, train: bool) -> bool:
        """The same for stage 0, 1, ..."""
        return self.added(stage, train) and not self.partial_bn

    def added(self, stage: int, train: bool) -> bool:
        """The same for what is added to a 2-d network between the blocks of a stage."""
        return train and not self.norm_eval and stage >= self.frozen_stages

    def patterns(self) -> tuple[str, ...]:
        """Patterns of the whole paths of frozen parameters, as `training.param_groups` reads them."""
        patterns = []
        if self.frozen_stages >= 0:
            patterns += [r"backbone/stem/.*"]
            patterns += [rf"backbone/layer{k}_.*" for k in range(1, self.frozen_stages + 1)]
        if self.partial_bn:
            patterns += [r"backbone/(?!stem/|\w*non_local).*/bn/(scale|bias)"]
        return tuple(patterns)
