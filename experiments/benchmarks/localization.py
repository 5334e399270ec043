"""Localization against MMAction2 0.6 in torch: epochs of TEM, PEM and BMN, memory, all of BSN, SSN testing.

    git clone --depth=1 --branch=v0.6.0 https://github.com/open-mmlab/mmaction2
    python experiments/benchmarks/localization.py --peer=mmaction2

Both sides train the published networks on the same files: features of `--videos` videos (100 x 400 CSV), annotations
with ActivityNet's statistics, and for PEM 500 proposals per video. An epoch includes everything from files to updated
parameters. MMAction2 reads its files in every epoch, as its pipeline does, in two worker processes; actjax reads them
only in the first epoch. So there are three numbers: the first epoch without compilation, a later epoch, and the mean
over the recipe's epochs. The ratio compares the means. `step` is the network alone, on a batch in memory: loss
(including MMAction2's label generation), backward pass, Adam.
Each side of each row runs in its own process; memory is the peak of that process.

`chain` is BSN from feature files to AR@AN: `python -m actjax.main`, from start to exit, against the same steps of
MMAction2. TEM and PEM train for `--epochs`; MMAction2's own tool runs the steps between them, in two processes.

`ssn`: see `detection.py`.
"""

import argparse
import json
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import detection
import numpy as np
from train_step import peak_of_process, time_repeats

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
EPOCHS = {"tem": 20, "pem": 20, "bmn": 9}
BATCH = {"tem": 16, "pem": 16, "bmn": 8}
PROPOSALS = 500


def write_data(folder: pathlib.Path, videos: int) -> None:
    """Annotations, features, and what PGM would make, of videos named as the sample set's."""
    from actjax.data.datasets.features import save_feature
    from actjax.data.samples.sequences import draw_annotation
    from actjax.localization import bsp_feature, match
    from actjax.tables import write_table
    from actjax.tasks.bsn.proposals import PGM_HEADER

    for name in ("features", "pgm_proposals", "pgm_features"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    annotations = {f"v_{k:05d}": draw_annotation(rng) for k in range(videos)}
    (folder / "annotations.json").write_text(json.dumps(annotations))
    for name, entry in annotations.items():
        save_feature(folder / "features" / f"{name}.csv", rng.normal(size=(100, 400)), fmt="%.4f")
        segments = np.array([row["segment"] for row in entry["annotations"]]) / entry["duration_second"]
        spans = np.sort(rng.random((PROPOSALS, 2)), axis=1)
        spans[: len(segments)] = segments  # the peer's loss is NaN without a good proposal
        scores = rng.random((PROPOSALS, 2))
        rows = np.concatenate([spans, scores, scores.prod(1, keepdims=True), match(spans, segments)], axis=1)
        write_table(folder / "pgm_proposals" / f"{name}.csv", PGM_HEADER, rows)
        np.save(folder / "pgm_features" / f"{name}.npy", bsp_feature(rng.random(100), spans))


def run_actjax(stage: str, folder: pathlib.Path, epochs: int, peer: str) -> dict:
    import functools
    import runpy

    import jax

    from actjax.data.datasets.untrimmed import Rescaled, activitynet
    from actjax.data.loading.feature_batches import train_items
    from actjax.data.loading.quarantine import Quarantine
    from actjax.tasks import build
    from actjax.tasks.bsn.items import BmnItems, PemItems, Split, TemItems
    from actjax.training import devices, step

    name = "bmn_400x100_2x8_9e_activitynet_feature" if stage == "bmn" else "bsn_400x100_activitynet_feature"
    config = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"]()
    chosen = build(config).networks[stage]
    network = chosen.network
    files = str(folder / "annotations.json")
    data = activitynet(features=str(folder / "features"), train=files, val=files, rescale="none")
    if stage == "pem":
        items = PemItems(str(folder / "pgm_proposals"), str(folder / "pgm_features"), top_k=PROPOSALS, feat_dim=32)
    else:
        features, options = Rescaled(data, network.model.input_shape), dict(temporal_scale=100, **chosen.labels)
        items = (TemItems if stage == "tem" else BmnItems)(features, **options)
    item, task = Split(data.train, items, kept=stage != "bmn"), network.task
    schedule = network.optimizer.schedule(1.0)
    tx = functools.partial(network.optimizer.transform, schedule=schedule)
    mesh = devices.make_mesh(1)
    state = jax.jit(functools.partial(step.create_state, seed=0, init=task.init, tx=tx))()
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=tx, schedule=schedule, mesh=mesh, bn="global"),
        donate_argnums=0,
    )
    quarantine = Quarantine(folder / "quarantine.jsonl", num_records=len(data.train))
    steps, size = len(data.train) // BATCH[stage], BATCH[stage]
    options = dict(seed=0, batch_size=size, quarantine=quarantine)

    def batches(epoch: int):
        return train_items(item, len(data.train), **options, position=epoch * steps * size, num_batches=steps)

    # Compiled on zeros of the right shapes, so that the first epoch is all the reading there is.
    batch = {"record": np.zeros(size, np.int32)} | {k: np.stack([np.zeros_like(v)] * size) for k, v in item(0).items()}

    def train(batch):
        nonlocal state
        state, numbers = update(state, batch)
        return numbers["loss"]

    jax.block_until_ready(train(batch))
    seconds = []
    for epoch in range(epochs):
        start = time.perf_counter()
        for batch in batches(epoch):
            loss = train(batch)
        jax.block_until_ready(loss)
        seconds.append(time.perf_counter() - start)
    batch = jax.device_put(batch)
    network_alone = time_repeats(lambda: train(batch), jax.block_until_ready, repeats=5)
    return dict(seconds=seconds, step=network_alone, memory=peak_of_process())


class PeerData:
    """The peer's pipeline of a network over the same files, as a torch data set."""

    def __init__(self, peer, stage: str, folder: pathlib.Path, *, proposals=None, features=None):
        self.stage, self.folder = stage, str(folder / "features")
        self.entries = list(json.loads((folder / "annotations.json").read_text()).items())
        if stage == "pem":
            files = proposals or folder / "pgm_proposals", features or folder / "pgm_features"
            self.steps = [peer.LoadProposals(PROPOSALS, *map(str, files))]
        else:
            self.steps = [peer.LoadLocalizationFeature(), peer.GenerateLocalizationLabels()]

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, k):
        import torch

        name, entry = self.entries[k]
        results = dict(entry, video_name=name, data_prefix=self.folder)
        for transform in self.steps:
            results = transform(results)
        names = ("bsp_feature", "reference_temporal_iou") if self.stage == "pem" else ("raw_feature", "gt_bbox")
        return [torch.as_tensor(results[name]) for name in names]

    def collate(self, items):
        """Features are stacked, what differs in length stays a list."""
        import torch

        first, second = zip(*items, strict=True)
        return (list(first) if self.stage == "pem" else torch.stack(first)), list(second)


def peer_model(peer, stage: str):
    nms = dict(soft_nms_alpha=0.75, soft_nms_low_threshold=0.65, soft_nms_high_threshold=0.9, post_process_top_k=100)
    if stage == "tem":
        return peer.TEM(100, 0.1, tem_feat_dim=400, tem_hidden_dim=512, tem_match_threshold=0.5)
    if stage == "pem":
        return peer.PEM(32, 256, 1, 2, 0.6, 0.2, **nms)
    return peer.BMN(100, 0.5, 32, 3, 400, **nms | dict(soft_nms_alpha=0.4, soft_nms_low_threshold=0.5))


def train_peer(stage: str, model, data: PeerData, epochs: int):
    """Seconds of each epoch, and a function that does the last step again."""
    import torch

    lr, decay = {"tem": (1e-3, 1e-4), "pem": (1e-2, 1e-5), "bmn": (1e-3, 1e-4)}[stage]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=lr, weight_decay=decay)
    workers = dict(num_workers=2, persistent_workers=True, collate_fn=data.collate)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH[stage], shuffle=True, drop_last=True, **workers)

    def train(batch):
        losses = model(*batch)
        loss = losses["loss"] if stage == "bmn" else sum(value.mean() for value in losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        for batch in loader:
            train(batch)
        seconds.append(time.perf_counter() - start)
    return seconds, lambda: train(batch)


def run_torch(stage: str, folder: pathlib.Path, epochs: int, checkout: str) -> dict:
    from mmaction2 import load_localizers

    peer = load_localizers(checkout)
    seconds, again = train_peer(stage, peer_model(peer, stage), PeerData(peer, stage, folder), epochs)
    step = time_repeats(again, lambda _: None, repeats=5)
    return dict(seconds=seconds, step=step, memory=peak_of_process())


def run_actjax_chain(folder: pathlib.Path, epochs: int, peer: str) -> dict:
    """Its own process is timed, with its imports and compilations."""
    files = dict(features=folder / "features", train=folder / "annotations.json", val=folder / "annotations.json")
    arguments = [f"--config.data.{name}={path}" for name, path in files.items()]
    arguments += [f"--config.{stage}.run.epochs={float(epochs)}" for stage in ("tem", "pem")]
    config = CONFIGS / "bsn_400x100_activitynet_feature.py"
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "actjax.main", f"--config={config}", f"--workdir={folder / 'run'}", *arguments],
        check=True, timeout=3600, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return dict(seconds=seconds, memory=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)


def run_torch_chain(folder: pathlib.Path, epochs: int, checkout: str) -> dict:
    """The peer's training loops, its tests of one video at a time (TEM: a batch), its tool, its score."""
    start = time.perf_counter()
    import torch
    from mmaction2 import load_localizers

    peer = load_localizers(checkout)
    annotations = json.loads((folder / "annotations.json").read_text())
    tem_results, proposals, features = (folder / name for name in ("tem_results", "peer_proposals", "peer_features"))
    tem_results.mkdir()
    model, data = peer_model(peer, "tem"), PeerData(peer, "tem", folder)
    train_peer("tem", model, data, epochs)
    with torch.no_grad():
        names, size = list(annotations), BATCH["tem"]
        for first in range(0, len(names), size):
            part = range(first, min(first + size, len(names)))
            batch = torch.stack([data[k][0] for k in part])
            metas = [{"video_name": names[k]} for k in part]
            for name, table in model(batch, video_meta=metas, return_loss=False):
                header = "action,start,end,tmin,tmax"
                np.savetxt(tem_results / f"{name}.csv", table, header=header, delimiter=",", comments="")
    common = (str(folder / "annotations.json"), str(tem_results))
    peer.generate_proposals(*common, str(proposals), 2, temporal_scale=100, peak_threshold=0.5)
    peer.generate_features(*common, str(proposals), str(features), 2, top_k=1000)
    model, data = peer_model(peer, "pem"), PeerData(peer, "pem", folder, proposals=proposals, features=features)
    train_peer("pem", model, data, epochs)
    load = peer.LoadProposals(1000, str(proposals), str(features))
    found = {}
    with torch.no_grad():
        for name, entry in annotations.items():
            loaded = load({"video_name": name})
            unused = ("video_name", "reference_temporal_iou")
            columns = {k: torch.as_tensor(v)[None] for k, v in loaded.items() if k not in unused}
            (result,) = model(**columns, video_meta=[dict(entry, video_name=name)], return_loss=False)
            found[name] = np.array([[*row["segment"], row["score"]] for row in result["proposal_list"]])
    truth = {name: np.array([row["segment"] for row in entry["annotations"]]) for name, entry in annotations.items()}
    peer.average_recall_at_avg_proposals(truth, found, sum(map(len, found.values())), 100)
    return dict(seconds=time.perf_counter() - start, memory=peak_of_process())


SIDES = {"actjax": run_actjax, "torch": run_torch}
CHAINS = {"actjax": run_actjax_chain, "torch": run_torch_chain}


def mean_epoch(stage: str, result: dict) -> tuple[float, float, float]:
    """Seconds of the first epoch, of a later one, and the mean over those of the recipe."""
    first, later = result["seconds"][0], statistics.median(result["seconds"][1:])
    return first, later, (first + (EPOCHS[stage] - 1) * later) / EPOCHS[stage]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="a checkout of MMAction2 v0.6.0")
    parser.add_argument("--videos", type=int, default=160)
    parser.add_argument("--bmn-videos", type=int, default=16, help="BMN takes a part of them: a step takes long")
    parser.add_argument("--epochs", type=int, default=3)
    stages = [*EPOCHS, "chain", "ssn"]
    parser.add_argument("--stages", nargs="+", choices=stages, default=stages)
    parser.add_argument("--side", choices=sorted(SIDES), help="measure one side of one stage and print JSON")
    parser.add_argument("--data", type=pathlib.Path, help="with --side: the folder of files")
    args = parser.parse_args()
    if not pathlib.Path(args.peer, "mmaction", "models", "localizers").is_dir():
        sys.exit(f"error: {args.peer}: no folder mmaction/models/localizers; name a checkout of MMAction2 v0.6.0")
    if args.side:
        (stage,) = args.stages
        options = (args.data, args.epochs, args.peer)
        print(json.dumps(CHAINS[args.side](*options) if stage == "chain" else SIDES[args.side](stage, *options)))
        return
    print(f"MMAction2 0.6 in torch against actjax, on cpu ({platform.machine()}), {time.strftime('%Y-%m-%d')}")
    print(f"{'':12}{'videos':>8}{'batch':>7}{'first s':>9}{'later s':>9}{'mean s':>9}{'step ms':>9}{'memory':>10}")
    for stage in args.stages:
        if stage == "ssn":
            detection.show(args.peer)
            continue
        videos = args.bmn_videos if stage == "bmn" else args.videos
        results = {}
        with tempfile.TemporaryDirectory() as folder:
            write_data(pathlib.Path(folder), videos)
            for side in SIDES:
                options = [f"--peer={args.peer}", f"--epochs={args.epochs}", "--stages", stage, f"--data={folder}"]
                done = subprocess.run(
                    [sys.executable, __file__, f"--side={side}", *options],
                    stdout=subprocess.PIPE, check=True, timeout=3600,
                )  # fmt: skip
                results[side] = json.loads(done.stdout.splitlines()[-1])
        show = show_chain if stage == "chain" else show_stage
        show(stage, videos, results)


def show_stage(stage: str, videos: int, results: dict) -> None:
    for side, result in results.items():
        times = "".join(f"{x:9.2f}" for x in mean_epoch(stage, result))
        memory = f"{result['memory'] / 2**30:.2f} GiB"
        print(f"{stage:6}{side:7}{videos:7}{BATCH[stage]:7}{times}{result['step'] * 1e3:9.1f}{memory:>10}")
    ratio = lambda of: of(results["torch"]) / of(results["actjax"])
    epoch, step = ratio(lambda r: mean_epoch(stage, r)[2]), ratio(lambda r: r["step"])
    memory = ratio(lambda r: r["memory"])
    print(f"{stage:6}ratio torch / actjax: epoch {epoch:.2f}, step {step:.2f}, memory {memory:.2f}", flush=True)


def show_chain(stage: str, videos: int, results: dict) -> None:
    for side, result in results.items():
        memory = f"{result['memory'] / 2**30:.2f} GiB"
        print(f"{stage:6}{side:7}{videos:7}{'':7}{result['seconds']:9.1f} s in all{memory:>27}")
    ratio = results["torch"]["seconds"] / results["actjax"]["seconds"]
    print(f"{stage:6}ratio torch / actjax: {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
