"""Metrics and suppression in plain loops, straight from their definitions: what the array forms are tested against."""

import math


def iou(a, b) -> float:
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - common
    return common / union if union else math.nan


def best_first(rows, score):
    """Descending; among equal scores the later row first."""
    return sorted(range(len(rows)), key=lambda i: (-score(rows[i]), -i))


def average_precision(truth: dict, rows: list, threshold: float) -> float:
    """`truth` {video: segments}; `rows` (video, start, end, score)."""
    positives, taken, hits = sum(map(len, truth.values())), set(), []
    for i in best_first(rows, lambda row: row[3]):
        video, start, end, _ = rows[i]
        overlaps = [(iou((start, end), s), j) for j, s in enumerate(truth.get(video, []))]
        free = [(x if x == x else math.inf, j) for x, j in overlaps if not x < threshold and (video, j) not in taken]
        hits.append(bool(free))
        if free:
            taken.add((video, max(free)[1]))
    precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    return sum(max(precision[i:]) for i, hit in enumerate(hits) if hit) / positives


def recall(truth: dict, proposals: dict, total: int, budget: float, threshold: float, percent: int) -> float:
    """Recall at `percent` of the budget, in proposals per video."""
    ratio = budget * len(truth) / total
    kept = {v: min(int(len(rows) * ratio), len(rows)) for v, rows in proposals.items()}
    share = percent / 100.0 * (budget * len(truth) / sum(kept.values()))
    found = 0
    for video, segments in truth.items():
        rows = proposals[video]
        ranked = [rows[i] for i in best_first(rows, lambda row: row[2])][: kept[video]]
        best = ranked[: min(int(kept[video] * share), kept[video])]
        found += sum(any(iou(s, p) >= threshold for p in best) for s in segments)
    return found / sum(map(len, truth.values()))


def nms(rows, threshold: float) -> list:
    """`rows` (start, end, score)."""
    kept = []
    for i in best_first(rows, lambda row: row[2]):
        if all(iou(rows[i], other) <= threshold for other in kept):
            kept.append(rows[i])
    return kept


def soft_nms(rows, alpha, low, high, top_k) -> list:
    left = [list(rows[i]) for i in best_first(rows, lambda row: row[-1])]
    taken = []
    while left and len(taken) <= top_k:
        best = left.pop(max(range(len(left)), key=lambda i: (left[i][-1], -i)))
        taken.append([best[0], best[1], best[-1]])
        for other in left:
            x = iou(best, other)
            if x > low + (high - low) * (best[1] - best[0]):
                other[-1] *= math.exp(-(x**2) / alpha)
    return taken
