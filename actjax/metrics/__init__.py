"""Scores -> numbers. NumPy and nothing else: importable on its own."""

from actjax.metrics.recognition import confusion_matrix, mean_class_accuracy, softmax, top_k_accuracy

__all__ = ["confusion_matrix", "mean_class_accuracy", "softmax", "top_k_accuracy"]
