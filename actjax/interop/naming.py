"""Parameter names: ours, e.g. `backbone/layer1_0/conv1/conv/kernel`, and those of other frameworks' checkpoints.

In between are plain names, see `CheckpointNames`: `backbone.layer1_0.conv1.conv.weight`. A backbone's file knows how
others call its parameters; what all backbones share, heads and networks without a backbone are here.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from actjax.interop.unwrapping import shown
from actjax.models.backbones import BACKBONES
from actjax.models.checkpoint_names import CheckpointNames, renamed

# Modules that depend on a data set's classes, with descriptions for messages.
HEADS = {
    "fc_cls": "classifier of videos",
    "activity_fc": "classifier of proposals",
    "completeness_fc": "classifier of their completeness",
    "regressor_fc": "regression of their boundaries",
}

# The last part of our paths -> torch's.
_TO_TORCH = ((r"\.(scale|kernel)$", ".weight"), (r"\.(mean|var)$", r".running_\1"))
# Plain names -> ours. Wrapper modules (`net`, `block`) are dropped.
_WRAPPERS = (r"\.(net|block)(?=\.)", "")
_TO_OURS = (
    _WRAPPERS,
    (rf"^cls_head\.({'|'.join(HEADS)})\.", r"\1."),
    (r"\.bn\.weight$", ".bn.scale"),
    (r"\.weight$", ".kernel"),
    (r"\.running_(mean|var)$", r".\1"),
)
# Non-local blocks: MMAction2's names inside the backbone -> plain names, and back.
_FROM_NON_LOCAL = (
    (r"^(layer\d)\.(\d+)\.non_local_block\.", r"\1_\2_non_local."),
    (r"(_non_local\.(?:g|phi|theta))(\.0)?\.conv\.", r"\1."),
)
_NON_LOCAL = (
    (r"^(layer\d+)_(\d+)_non_local\.", r"\1.\2.non_local_block."),
    (r"(\.non_local_block\.(?:g|phi))\.", r"\1.0.conv."),
    (r"\.non_local_block\.theta\.", ".non_local_block.theta.conv."),
)
# MMAction2's BMN -> ours.
_BMN = {
    "x_1d_p.0": "map_1d",
    "x_3d_p.0": "map_3d",
    **{f"x_1d_{part[0]}.{2 * k}": f"{part}_{k}" for part in ("base", "start", "end") for k in (0, 1)},
    **{f"x_2d_p.{2 * k}": f"map_2d_{k}" for k in range(4)},
}
# Never loaded: batch norm counters, classifiers of other tasks, tensors that SSN and BMN compute.
_DROPPED = r"(.*\.num_batches_tracked|fc\.\w+|head\..*|classifier\..*|cls_head\.test_fc\..*|sample_mask)"


class Translation(NamedTuple):
    """The layout of a file, and {its name: our path, or None if never loaded}."""

    layout: str
    paths: dict[str, str | None]


def translate(names: Iterable[str], *, model=None, paths: Iterable[str] = ()) -> Translation:
    """Maps names in a checkpoint of MMAction2, the TSM authors or torchvision to our paths; see `without_prefixes`.

    Args:
      model: the network to load, whose backbone may know other layouts.
      paths: the parameters of `model`: plain names of theirs, and names that `export_checkpoint` gives them, are known.

    Raises:
      ValueError: none of these layouts.
    """
    known = [_checkpoint_names(model), *(getattr(made, "checkpoint_names", None) for made in BACKBONES.values())]
    known = [names for names in known if names is not None]
    bare = {name: name for name in names}
    authors = any(name.startswith("base_model.") for name in bare.values())
    if authors:
        rename = lambda name: name.removeprefix("base_model.").replace("new_fc.", "cls_head.fc_cls.")
        bare = {name: rename(inner) for name, inner in bare.items()}
    exported = {mmaction_name(path, model): path for path in paths}
    found = _layout(list(bare.values()), known)
    if exported and exported.keys() <= set(bare.values()) and not (found and found[0].startswith("MMAction2")):
        found = "the network's own names", str
    if found is None:
        raise ValueError(
            f"names such as {shown(bare)} match no known layout; MMAction2's begin with backbone. (TEM: conv1, "
            "PEM: fc1, BMN: x_1d), the TSM authors' with base_model., torchvision's with conv1 and layer1, or features"
        )
    layout, to_plain = found
    plain = {plain_name(path): path for path in paths}

    def to_ours(name: str) -> str | None:
        if name in exported or re.fullmatch(_DROPPED, name):
            return exported.get(name)
        name = to_plain(name)
        return plain.get(name) or renamed(name, _TO_OURS).replace(".", "/")

    layout = layout.replace("torchvision", "the TSM authors") if authors else layout
    return Translation(layout, {name: to_ours(inner) for name, inner in bare.items()})


def _layout(names: Sequence[str], known: Sequence[CheckpointNames]) -> tuple[str, Callable[[str], str]] | None:
    """The layout of a file with these names, and the function from a name to a plain one; None: no layout fits."""
    fits = lambda sign: any(re.match(sign, name) for name in names)
    for layout in known:
        if fits(layout.sign):
            plain = {name: f"backbone.{inner}" for name, inner in layout.read(names).items()}
            return layout.layout, functools.partial(_found, plain)
    if fits(r"backbone\.|cls_head\.|conv3\.weight$|fc1\.weight$"):
        table = (_WRAPPERS, *_FROM_NON_LOCAL, *(rename for layout in known for rename in layout.restored))
        return "MMAction2", lambda name: _in_backbone(name, lambda inner: renamed(inner, table))
    if fits(r"x_1d_b\."):
        return "MMAction2's BMN", lambda name: _of_module(name, _BMN)
    return None


def _in_backbone(name: str, rename: Callable[[str], str]) -> str:
    """The name with `rename` applied to what follows `backbone.`, if it begins so."""
    return f"backbone.{rename(name.removeprefix('backbone.'))}" if name.startswith("backbone.") else name


def _of_module(name: str, modules: dict[str, str]) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{_found(modules, module)}.{leaf}"


def _found(table: dict[str, str], name: str) -> str:
    return table.get(name, name)


def _checkpoint_names(model) -> CheckpointNames | None:
    """Of the backbone of a recogniser; None if it has none, or if `model` has no backbone."""
    network = getattr(model, "network", None)
    return network and getattr(network(parent=None), "checkpoint_names", None)


def plain_name(path: str) -> str:
    """Our path -> its parts joined by dots, the last as in torch; a function of the path alone."""
    return renamed(path.replace("/", "."), _TO_TORCH)


def mmaction_name(path: str, model) -> str:
    """Our path -> the name that `export_checkpoint` writes: MMAction2's, with the modules that wrap others in `model`.

    A parameter of a backbone that MMAction2 does not have has its plain name, unless its `checkpoint_names` change it.
    """
    name = plain_name(path)
    if (head := name.partition(".")[0]) in HEADS:
        return f"cls_head.{name}"
    if head != "backbone":
        return _of_module(name, {ours: theirs for theirs, ours in _BMN.items()})
    if not (names := _checkpoint_names(model)):
        return name
    return _in_backbone(name, lambda inner: _wrapped(renamed(inner, (*names.exported, *_NON_LOCAL)), model, names))


def _wrapped(name: str, model, names: CheckpointNames) -> str:
    """A name inside the backbone, with the wrappers that MMAction2's shift, pooling and non-local blocks add."""
    within = re.match(r"layer(\d)\.(\d+)\.", name)
    if not within or not names.shifted:
        return name
    stage, block = int(within[1]) - 1, int(within[2])
    wrap = lambda wrapper: f"{within[0]}{wrapper}.{name.removeprefix(within[0])}"
    if not re.match(r"non_local_block\.", name[within.end() :]):
        if getattr(model, "shifts", lambda stage, block: False)(stage, block):
            name = renamed(name, names.shifted) if model.shift_place == "blockres" else wrap("net")
        if getattr(model, "non_local", ()) and model.non_local[stage][block]:
            name = wrap("block")
    pooled = getattr(model, "temporal_pool", False) and stage == 1
    return name.replace("layer2.", "layer2.net.", 1) if pooled else name
