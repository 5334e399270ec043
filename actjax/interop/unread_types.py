"""Names in torch's pickles that belong to tensors which are not read, because no array holds them as they are."""

import re

DTYPE = re.compile(r"torch\.(float|bfloat|int|uint|bits|complex)\w+")  # the argument of `_rebuild_tensor_v3`
_FIXES = (
    (r"torch\._utils\._rebuild_qtensor|torch\.Q\w+Storage", "dequantize()"),
    (r"torch\._utils\._rebuild_sparse\w+", "to_dense()"),
    (r"torch\..*(_rebuild_nested_tensor|_rebuild_njt)", "to_padded_tensor(0.0)"),
    (r"torch\.(Complex\w+Storage|complex\w+)", "real"),
    (DTYPE.pattern, "float()"),
    (r"torch\..*_rebuild_(?!meta)\w+", "detach().clone()"),
)


def fix_for(name: str) -> str | None:
    """The method of a tensor that makes it one that is read; None: the name is not that of a tensor.

    >>> fix_for("torch.float8_e4m3fn"), fix_for("torch._utils._rebuild_sparse_tensor"), fix_for("os.system")
    ('float()', 'to_dense()', None)
    """
    return next((fix for pattern, fix in _FIXES if re.fullmatch(pattern, name)), None)
