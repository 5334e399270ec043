"""actjax: video action recognition and temporal action localization in JAX.

From a video file to a number:

    annotation list   data.datasets      -> records (path, label)
    record            video.sampling     -> frame indices, from uniform draws
    indices           video.decoding     -> uint8 frames
    frames            video.views        -> crop box and output size, from uniform draws
    frames, views     video.rendering    -> uint8 clip
    record            data.clips         -> all of the above: one record, one clip
    clips             data.loading       -> batches, each a pure function of (seed, step)
    batch             pixels             -> normalised, augmented, on the device
    batch             models             -> logits, or scores of time steps and proposals
    outputs, targets  losses             -> one loss per example
    outputs           localization       -> segments: proposals, detections
    results, targets  metrics            -> top-k accuracy, AR@AN, mAP, ...

`tasks` combines a model with its loss and metrics, `training` runs any task on any devices, and
`python -m actjax.main`, or `actjax` for short, runs everything from one config file. From Python:

    results = actjax.train("tsm_shapes", "runs/shapes")     # a recipe or a config file, and a folder for the run
    trained = actjax.load("runs/shapes")
    trained.predict("clip.mp4")                             # [{"class": "moving right", "label": 0, "score": ...

`import actjax` alone imports none of these.
"""

from actjax.faces import earlier, lazy

__all__ = ["build", "evaluate", "load", "train"]
__getattr__, __dir__ = lazy(__name__, {"__version__": "version"} | dict.fromkeys(__all__, "door"))
earlier(__name__, {"detecting": "tasks.ssn.report"})
