"""Records -> batches: record order, reader processes, batches, and the quarantine of broken files."""

from actjax.faces import lazy

_BATCHES = "data.loading.batches"
_NAMES = dict.fromkeys(("Loader", "Shard", "build_dataloader", "eval_batches", "train_batches"), _BATCHES)
__all__ = [*_NAMES]
__getattr__, __dir__ = lazy(__name__, _NAMES)
