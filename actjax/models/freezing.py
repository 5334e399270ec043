"""Which layers of a backbone train, and which batch norms keep their running statistics in training."""

from typing import NamedTuple

# A normalisation layer's name in a parameter path: `bn`, `stem_bn1`, `norm`, Linen's own `BatchNorm_0`, ...
NORM = r"((\w*_)?bn|\w*[nN]orm)\w*"
# Parameters of non-local blocks, which TSM adds to a backbone.
ADDED = r".*/layer\d+_\d+_non_local/.*"


def numbered_stages(number: int) -> dict[str, str]:
    """`stages`, as in `actjax.models.backbones`, of modules that are called stem, layer1_0, layer1_1, layer2_0, ..."""
    return {"stem": r"stem/.*"} | {f"layer{k}": rf"layer{k}_.*" for k in range(1, number + 1)}


class Freezing(NamedTuple):
    """The frozen parts of a backbone. Source: ResNet of MMAction2 0.6.

    frozen_stages: -1: none; k >= 0: the stem and the first k stages, parameters and statistics.
    norm_eval: every batch norm uses its running statistics; scales and biases train.
    partial_bn: every batch norm but the stem's uses its running statistics and has its scale and bias frozen. Batch
      norms of non-local blocks train.
    stages: regular expressions that match whole parameter paths, one for the stem and one for each stage.
    """

    frozen_stages: int = -1
    norm_eval: bool = False
    partial_bn: bool = False
    stages: tuple[str, ...] = ()

    def stem(self, train: bool) -> bool:
        """Whether the stem's batch norm uses batch statistics."""
        return train and not self.norm_eval and self.frozen_stages < 0

    def stage(self, stage: int, train: bool) -> bool:
        """Whether batch norms of `stage` (0, 1, ...) use batch statistics."""
        return self.added(stage, train) and not self.partial_bn

    def added(self, stage: int, train: bool) -> bool:
        """Whether batch norms of non-local blocks in `stage` use batch statistics."""
        return train and not self.norm_eval and stage >= self.frozen_stages

    def last(self, train: bool) -> bool:
        """Whether batch norms after the last stage use batch statistics."""
        return train and not (self.norm_eval or self.partial_bn)

    def by_stage(self) -> bool:
        """Whether what is frozen depends on the stage of a layer, so that `patterns` needs `stages`."""
        return self.frozen_stages >= 0 or self.partial_bn

    def patterns(self) -> tuple[str, ...]:
        """Regular expressions for `training.param_groups` that match the full paths of frozen parameters.

        Raises:
          ValueError: there are fewer `stages` than this freezes.
        """
        if self.by_stage() and max(self.frozen_stages, 0) >= len(self.stages):
            asked = f"frozen_stages={self.frozen_stages}, partial_bn={self.partial_bn}"
            raise ValueError(f"{asked}: the backbone has {max(len(self.stages) - 1, 0)} stages after its stem")
        frozen = self.stages[: self.frozen_stages + 1]
        return (*frozen, self.norms()) if self.partial_bn else frozen

    def norms(self) -> str:
        """A regular expression of the scales and biases that `partial_bn` freezes."""
        return rf"(?!({self.stages[0]}|{ADDED})$)backbone/(.*/)?{NORM}/(scale|bias)"
