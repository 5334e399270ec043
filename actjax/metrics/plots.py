"""Plots of evaluation curves; needs the extra `plots`."""

import numpy as np


def plot_average_recall(path, score, thresholds) -> None:
    """Plots recall over the average number of proposals, per threshold and on average (`AverageRecall`)."""
    figure, axes = _axes("average number of proposals per video", "recall")
    for threshold, recall in zip(thresholds, score.recall, strict=True):
        axes.plot(score.proposals_per_video, recall, linewidth=0.8, label=f"tIoU {threshold:.2f}")
    axes.plot(score.proposals_per_video, score.avg_recall, "k", linewidth=2, label=f"average, AUC {score.auc:.2f}")
    _save(figure, axes, path)


def plot_average_precision(path, score, thresholds, labels) -> None:
    """Plots AP over temporal IoU, per class and averaged over classes (`DetectionScore`)."""
    figure, axes = _axes("temporal IoU threshold", "average precision")
    for precision in score.average_precision:
        axes.plot(thresholds, precision, color="0.8", linewidth=0.8)
    axes.plot([], [], color="0.8", label=f"{len(labels)} classes")
    axes.plot(thresholds, score.mAP, "ko-", linewidth=2, label=f"mean, {score.average_mAP:.4f} on average")
    _save(figure, axes, path)


def _axes(x: str, y: str):
    try:
        from matplotlib.figure import Figure  # no pyplot: no window system, no global state
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'actjax[plots]'") from error
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, ylim=(0, 1), yticks=np.arange(0, 1.01, 0.1))
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure, axes, path) -> None:
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)
