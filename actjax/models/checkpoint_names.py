"""What other programs' checkpoints call the parameters of a backbone."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Renaming = Sequence[tuple[str, str]]  # (regular expression, replacement), in order

# Stem and blocks of MMAction2's networks: plain names -> theirs, and back.
MMACTION2 = ((r"^stem\.", "conv1."), (r"^layer(\d)_(\d+)\.", r"layer\1.\2."))
FROM_MMACTION2 = ((r"^conv1\.", "stem."), (r"^layer(\d)\.(\d+)\.", r"layer\1_\2."))


class CheckpointNames(NamedTuple):
    """How a backbone translates names of other programs.

    A parameter's plain name is its path inside the backbone, joined by dots, that ends as in torch: the scale of
    `layer1_0/conv1/bn` is "layer1_0.conv1.bn.weight". A backbone without a `CheckpointNames` is exported and imported
    under plain names.

    layout: the files that `read` understands, e.g. "ResNet of torchvision".
    sign: a regular expression. A file belongs to the layout if one of its names begins so.
    read: all names in such a file -> {name: plain name}; names that are not the backbone's are left out.
    exported: turns a plain name into the one that `export_checkpoint` writes.
    restored: turns an exported name back. Needed only for files with other wrapper modules than the model has; names as
      the model itself is exported are known without it.
    shifted: the change of an exported name where MMAction2's temporal shift wraps the layer that follows it.
    """

    layout: str
    sign: str
    read: Callable[[Iterable[str]], dict[str, str]]
    exported: Renaming = ()
    restored: Renaming = ()
    shifted: Renaming = ()


def renamed(name: str, table: Renaming) -> str:
    """The name after all replacements, in order."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
