"""actjax: video action recognition and temporal action localization in JAX.

A video's way from file to number:

    annotation list   data.annotations   -> records (path, label)
    record            video.sampling     -> frame indices, from uniform draws
    indices           video.decoding     -> uint8 frames
    frames            video.views        -> which box becomes a picture of which size, from uniform draws
    frames, views     video.rendering    -> uint8 clip
    clips             data.loading       -> batches, each a pure function of (seed, step)
    batch             models             -> scores
    scores, targets   losses             -> one number per clip
    scores            localization       -> segments: proposals, detections
    either, targets   metrics            -> top-k accuracy, AR@AN, mAP, ...

`tasks` ties a model to its loss and its metric, `training` drives any task on any devices, and
`python -m actjax.main` runs it all from one config file. This package imports nothing by itself.
"""

from actjax.faces import earlier

earlier(__name__, {"detecting": "tasks.ssn.report"})
