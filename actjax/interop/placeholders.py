"""Names of classes that training programs save beside the weights: their arguments, configs and records of losses."""

import re
from dataclasses import dataclass

_HARMLESS = (
    r"argparse\.Namespace|types\.SimpleNamespace|typing\.(Any|Union|Optional|List|Dict|Tuple)|torch\.device",
    r"collections\.(defaultdict|deque|Counter)|pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path",
    r"datetime\.(datetime|date|time|timedelta|timezone)",
    r"(__builtin__|builtins)\.(set|frozenset|list|tuple|dict|int|long|float|complex|bool|str|slice|x?range|bytearray)",
    r"numpy\.(ndarray|bool_?|str_|u?int\d+|float\d+|complex\d+|dtypes\.\w+DType|_?core\.multiarray\._reconstruct)",
    r"mmengine\.logging\.history_buffer\.HistoryBuffer(\.\w+)?|(mmengine\.config|mmcv\.utils)\.config\.Config(Dict)?",
    r"(pytorch_lightning|lightning|lightning_fabric)\.[\w.]+\.AttributeDict|omegaconf\.[\w.]+",
    r"addict\.addict\.Dict|easydict\.EasyDict|(yacs|fvcore\.common)\.config\.CfgNode",
)
GETATTR = ("__builtin__.getattr", "builtins.getattr")  # of a placeholder alone: so are the methods of a class saved


@dataclass(frozen=True)
class Placeholder:
    """Stands for an object that is not read: nothing of its class, `name`, is imported, called or kept."""

    name: str


def is_harmless(name: str) -> bool:
    """Whether a placeholder may stand for objects of this class.

    >>> is_harmless("argparse.Namespace"), is_harmless("os.system"), is_harmless("builtins.eval")
    (True, False, False)
    """
    return any(re.fullmatch(pattern, name, re.ASCII) for pattern in _HARMLESS)
