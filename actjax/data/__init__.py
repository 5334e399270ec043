"""Files -> records -> batches, on the host; nothing here imports jax.

datasets  annotation files -> records; features, selection
clips     record -> clip: frames, crops, pixels
loading   records -> batches, decoded in processes that can be killed
prepared  data sets in ArrayRecord files: writing and reading
samples   the sample sets, generated on first use
lists     lists for public sets, out of what their publishers ship
"""

from actjax.faces import earlier, lazy

_NAMES = {
    "load_annotations": "data.datasets.annotations",
    "build_dataset": "data.datasets.recognition",
    "repeat": "data.datasets.selecting",
    "build_dataloader": "data.loading.batches",
}
__all__ = ["build_dataloader", "build_dataset", "load_annotations", "repeat"]
__getattr__, __dir__ = lazy(__name__, _NAMES)

earlier(
    __name__,
    {
        "annotations": "data.datasets.annotations",
        "features": "data.datasets.features",
        "rescaling": "data.datasets.rescaling",
        "selecting": "data.datasets.selecting",
        "untrimmed": "data.datasets.untrimmed",
        "proposals": ("data.clips.ssn_assignment", "data.datasets.ssn_lists"),
        "stages": ("data.clips.spec", "data.clips.transforms"),
    },
)
