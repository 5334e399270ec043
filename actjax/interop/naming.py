"""Parameter names: ours, e.g. `backbone/layer1_0/conv1/conv/kernel`, and those of other frameworks' checkpoints."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from actjax.models.mobilenet import STAGES

# Modules that depend on a data set's classes, with descriptions for messages.
HEADS = {
    "fc_cls": "classifier of videos",
    "activity_fc": "classifier of proposals",
    "completeness_fc": "classifier of their completeness",
    "regressor_fc": "regression of their boundaries",
}

# MMAction2 -> ours, in order. Wrapper modules (`net`, `block`) are dropped.
_RENAMED = [
    (r"\.(net|block)(?=\.)", ""),
    (r"^backbone\.conv1\.", "backbone.stem."),
    (r"\.(layer\d)\.(\d+)\.non_local_block\.", r".\1_\2_non_local."),
    (r"(_non_local\.(?:g|phi|theta))(\.0)?\.conv\.", r"\1."),
    (r"\.(layer\d)\.(\d+)\.", r".\1_\2."),
    (r"(layer\d_\d+)\.conv\.(\d)\.", r"\1.conv\2."),
    (rf"^cls_head\.({'|'.join(HEADS)})\.", r"\1."),
    (r"\.bn\.weight$", ".bn.scale"),
    (r"\.weight$", ".kernel"),
    (r"\.running_(mean|var)$", r".\1"),
]
# torchvision's ResNet -> MMAction2.
_RESNET = [
    (r"^conv1\.", "conv1.conv."),
    (r"^bn1\.", "conv1.bn."),
    (r"\.conv(\d)\.(net\.)?weight$", r".conv\1.conv.weight"),
    (r"\.bn(\d)\.", r".conv\1.bn."),
    (r"\.downsample\.0\.", ".downsample.conv."),
    (r"\.downsample\.1\.", ".downsample.bn."),
    (r"^(?=conv|layer)", "backbone."),
]
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


def translate(names: Iterable[str]) -> Translation:
    """Maps names in a checkpoint of MMAction2, the TSM authors or torchvision to our paths.

    Raises:
      ValueError: none of these layouts.
    """
    plain = {name: name.removeprefix("module.") for name in names}
    authors = any(name.startswith("base_model.") for name in plain.values())
    if authors:
        rename = lambda name: name.removeprefix("base_model.").replace("new_fc.", "cls_head.fc_cls.")
        plain = {name: rename(inner) for name, inner in plain.items()}
    flat = not any(re.match(r"features\.\d+\.conv\.\d\.\d\.", name) for name in plain.values())
    known = {
        "MobileNet-V2": (r"features\.\d+\.", lambda name: _mobilenet_name(name, flat=flat)),
        "ResNet": (r"layer1\.0\.conv1\.(net\.)?weight$", lambda name: _renamed(name, _RESNET)),
        "MMAction2": (r"backbone\.|cls_head\.|conv3\.weight$|fc1\.weight$", lambda name: name),
        "MMAction2's BMN": (r"x_1d_b\.", _bmn_name),
    }
    fits = lambda sign: any(re.match(sign, name) for name in plain.values())
    layout = next((layout for layout, (sign, _) in known.items() if fits(sign)), None)
    if layout is None:
        raise ValueError(
            f"names such as {sorted(plain)[:3]} match no known layout; MMAction2's begin with backbone. (TEM: conv1, "
            "PEM: fc1, BMN: x_1d), the TSM authors' with module.base_model., torchvision's with conv1 and layer1, or "
            "features"
        )
    to_mmaction = known[layout][1]
    if not layout.startswith("MMAction2"):
        layout = f"{layout} of {'the TSM authors' if authors else 'torchvision'}"
    to_ours = lambda name: None if re.fullmatch(_DROPPED, name) else _renamed(to_mmaction(name), _RENAMED)
    return Translation(layout, {name: (p := to_ours(inner)) and p.replace(".", "/") for name, inner in plain.items()})


def _bmn_name(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{_BMN.get(module, module)}.{leaf}"


def _renamed(name: str, table: list[tuple[str, str]]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


# features.I of the flat list of blocks -> layerL.B
_BLOCKS = [f"layer{stage}.{block}" for stage, (_, _, blocks, _) in enumerate(STAGES, 1) for block in range(blocks)]


def _mobilenet_name(name: str, *, flat: bool) -> str:
    """A name of MobileNet-V2 in the TSM authors' or torchvision's layout -> MMAction2.

    A block of the `flat` layout (the TSM authors') lists convolution, batch norm, activation, convolution, ...;
    torchvision's lists pairs of convolution and batch norm, with the last pair unpacked.
    """
    kind = ("conv", "bn")
    if outer := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", name):
        return f"backbone.conv{1 if outer[1] == '0' else 2}.{kind[int(outer[2])]}.{outer[3]}"
    inner = re.fullmatch(r"features\.(\d+)\.conv\.(\d)(?:\.([01]))?\.(?:net\.)?(\w+)", name)
    if not inner or not 1 <= int(inner[1]) <= len(_BLOCKS):
        return name
    block, place = int(inner[1]), int(inner[2])
    last = 1 if block == 1 else 2  # the number of the block's last convolution
    if flat:
        number, which = divmod(place, 3)
    elif inner[3]:
        number, which = place, int(inner[3])
    else:
        number, which = last, place - last
    return f"backbone.{_BLOCKS[block - 1]}.conv.{number}.{kind[which]}.{inner[4]}" if which in (0, 1) else name


def mmaction_name(path: str, model) -> str:
    """Our path -> MMAction2's name, including the modules that wrap others in this model."""
    name = path.replace("/", ".")
    theirs = {ours: theirs for theirs, ours in _BMN.items()}
    module, _, leaf = name.rpartition(".")
    name = f"{theirs.get(module, module)}.{leaf}"
    for pattern, replacement in (
        (rf"^({'|'.join(HEADS)})\.", r"cls_head.\1."),
        (r"^backbone\.stem\.", "backbone.conv1."),
        (r"(_non_local\.(?:g|phi))\.", r"\1.0.conv."),
        (r"_non_local\.theta\.", "_non_local.theta.conv."),
        (r"\.(scale|kernel)$", ".weight"),
        (r"\.(mean|var)$", r".running_\1"),
    ):
        name = re.sub(pattern, replacement, name)
    if not (within := re.fullmatch(r"backbone\.layer(\d)_(\d+)(_non_local)?\.(.*)", name)):
        return name
    stage, block, extra, rest = int(within[1]) - 1, int(within[2]), within[3], within[4]
    layer = f"backbone.layer{stage + 1}" + (".net" if getattr(model, "temporal_pool", False) and stage == 1 else "")
    if extra:
        return f"{layer}.{block}.non_local_block.{rest}"
    return f"{layer}.{block}.{_wrapped(rest, model, stage, block)}"


def _wrapped(rest: str, model, stage: int, block: int) -> str:
    """A name inside its block, with the wrappers that MMAction2's shift and non-local blocks add."""
    shifts = getattr(model, "shifts", lambda stage, block: False)(stage, block)
    if model.arch == "mobilenet_v2":
        rest = re.sub(r"^conv(\d)\.", r"conv.\1.", rest)
        return re.sub(r"^conv\.0\.", "conv.0.net.", rest) if shifts else rest
    if shifts:
        residual = model.shift_place == "blockres"
        rest = re.sub(r"^conv1\.conv\.", "conv1.conv.net.", rest) if residual else f"net.{rest}"
    attended = getattr(model, "non_local", ()) and model.non_local[stage][block]
    return f"block.{rest}" if attended else rest
