"""Loads parts of a checkout of MMAction2 v0.6.0, for comparison in `metrics.py` and `localization.py`.

Only the needed files are loaded, so mmcv is not required. They are patched in memory; see `metrics.py`.
"""

import importlib.util
import json
import pathlib
import sys
import types
from unittest import mock

import numpy as np


def load_functions(checkout: str) -> types.SimpleNamespace:
    """The reference's evaluation and localization functions, from its files."""
    root = pathlib.Path(checkout, "mmaction")
    if not (root / "localization").is_dir():
        sys.exit(f"error: {checkout}: no folder mmaction/localization; name a checkout of MMAction2 v0.6.0")
    np.int, np.trapz = int, np.trapezoid
    for package in ("mmaction", "mmaction.core", "mmaction.localization"):
        sys.modules[package] = types.ModuleType(package)
    accuracy = _module("mmaction.accuracy", root / "core" / "evaluation" / "accuracy.py")
    original = accuracy.pairwise_temporal_iou

    def documented_shape(candidates, targets):
        iou = original(candidates, targets)
        return iou[:, 0] if candidates.ndim == 1 and iou.ndim == 2 else iou

    accuracy.pairwise_temporal_iou = documented_shape
    core, package = sys.modules["mmaction.core"], sys.modules["mmaction.localization"]
    precision = accuracy.average_precision_at_temporal_iou
    core.average_precision_at_temporal_iou = lambda *arguments: precision(*arguments)[0]  # asked for one threshold each
    names = {}
    for name in ("proposal_utils", "bsn_utils", "ssn_utils"):
        module = _module(f"mmaction.localization.{name}", root / "localization" / f"{name}.py")
        vars(package).update(vars(module))
        names |= vars(module)
    return types.SimpleNamespace(**(names | vars(accuracy)))


def _module(name: str, path: pathlib.Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_localizers(checkout: str) -> types.SimpleNamespace:
    """TEM, PEM and BMN, the pipeline steps that read their data, and the tool between TEM and PEM; needs torch."""
    functions = load_functions(checkout)
    root = pathlib.Path(checkout, "mmaction")
    for package in ("models", "models.losses", "models.localizers", "datasets", "datasets.pipelines"):
        sys.modules[f"mmaction.{package}"] = types.ModuleType(package)
    for stub in ("mmcv", "mmcv.fileio", "mmaction.utils"):
        sys.modules[stub] = mock.MagicMock()
    registry = types.SimpleNamespace(register_module=lambda: lambda kind: kind)
    names = dict(LOCALIZERS=registry, LOSSES=registry, PIPELINES=registry)
    sys.modules["mmaction.models.registry"] = sys.modules["mmaction.datasets.registry"] = types.SimpleNamespace(**names)
    losses = {}
    for name in ("base", "binary_logistic_regression_loss", "bmn_loss"):
        losses |= vars(_module(f"mmaction.models.losses.{name}", root / "models" / "losses" / f"{name}.py"))
    build_loss = lambda config: losses[config["type"]]()
    sys.modules["mmaction.models.builder"] = sys.modules["mmaction.models"].builder = types.SimpleNamespace(
        build_loss=build_loss
    )
    folder = root / "models" / "localizers"
    utils = _module("mmaction.models.localizers.utils", folder / "utils" / "post_processing.py")
    kinds = vars(utils) | vars(_module("mmaction.models.localizers.base", folder / "base.py"))
    for name in ("bsn", "bmn"):
        kinds |= vars(_module(f"mmaction.models.localizers.{name}", folder / f"{name}.py"))
    sys.modules["mmcv"].load = lambda file: json.loads(pathlib.Path(file).read_text())
    tool = _module("bsn_proposal_generation", root.parent / "tools" / "bsn_proposal_generation.py")
    loading = _module("mmaction.datasets.pipelines.loading", root / "datasets" / "pipelines" / "loading.py")
    return types.SimpleNamespace(**(vars(functions) | kinds | vars(loading) | vars(tool)))


def load_ssn(checkout: str) -> types.SimpleNamespace:
    """SSNHead, and `evaluate` of SSNDataset as a function of results and a proposal file; needs torch."""
    functions = load_functions(checkout)
    root = pathlib.Path(checkout, "mmaction")
    for package in ("models", "models.heads", "datasets"):
        sys.modules[f"mmaction.{package}"] = types.ModuleType(package)
    for stub in ("mmcv", "mmcv.cnn", "mmaction.utils"):
        sys.modules[stub] = mock.MagicMock()
    registry = types.SimpleNamespace(register_module=lambda: lambda kind: kind)
    sys.modules["mmaction.models.registry"] = types.SimpleNamespace(HEADS=registry)
    sys.modules["mmaction.datasets.registry"] = types.SimpleNamespace(DATASETS=registry)
    sys.modules["mmaction.datasets.base"] = types.SimpleNamespace(BaseDataset=object)
    sys.modules["mmaction.core"].softmax = functions.softmax
    # In float32 the end of a range, at 256 ticks or more, loses the 1e-5 that keeps it in; later releases mended that.
    source = (root / "models" / "heads" / "ssn_head.py").read_text().replace(".float()", ".double()")
    head = types.ModuleType("mmaction.models.heads.ssn_head")
    head.__package__ = "mmaction.models.heads"
    exec(compile(source, "ssn_head.py", "exec"), vars(head))
    dataset = _module("mmaction.datasets.ssn_dataset", root / "datasets" / "ssn_dataset.py").SSNDataset

    class Options(types.SimpleNamespace):
        """Also a mapping, an empty one."""

        keys, __getitem__ = (lambda self: ()), None

    def evaluate(results, videos) -> dict[str, float]:
        class Given(dataset):
            def __init__(self):
                self.evaluater = Options(nms=0.2)
                self.use_regression, self.logger = True, mock.MagicMock()
                self.video_infos = [{"video_id": name} for name, *_ in videos]
                self.truth = {}
                for name, frames, rows, _ in videos:
                    for label, start, end in rows:
                        by_video = self.truth.setdefault(int(label) - 1, {})
                        by_video.setdefault(name, []).append([int(start) / frames, int(end) / frames])

            def __len__(self):
                return len(self.video_infos)

            def get_all_gts(self):
                return self.truth

            def results_to_detections(self, results, **unused):
                return dataset.results_to_detections(self, results, top_k=2000)

        return Given().evaluate(results)

    return types.SimpleNamespace(SSNHead=head.SSNHead, evaluate=evaluate)
