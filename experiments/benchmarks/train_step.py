"""TSM-R50 on clips of 8 frames: forward pass and training step, actjax against torch.

    python experiments/benchmarks/train_step.py --batch=2 --dtype=float32
    python experiments/benchmarks/train_step.py --batch=8 --size=64
    python experiments/benchmarks/train_step.py --batch=32 --dtype=bfloat16      # on a GPU

Each side runs in its own process, one after the other, so their memory is measured separately. torch runs
channels_last, with autocast for bfloat16, and on a GPU with torch.compile. Prints milliseconds (median of the repeats),
clips per second, peak memory (of the device; on CPU, of the process), and the fraction of peak FLOP/s. The peak is the
published one for known GPUs, otherwise the faster of both sides' measured 2048x2048 matrix products.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time

# Dense peaks in FLOP/s by (part of the device's name, dtype); float32 runs on TF32 units.
PEAKS = {
    ("H200", "bfloat16"): 989e12, ("H200", "float32"): 495e12,
    ("H100", "bfloat16"): 989e12, ("H100", "float32"): 495e12,
    ("A100", "bfloat16"): 312e12, ("A100", "float32"): 156e12,
}  # fmt: skip
FRAMES = 8
# Multiply-adds of one ResNet-50 frame at 224x224, twice; the backward pass costs two forwards.
FORWARD_FLOPS = 2 * 4.09e9 * FRAMES


def time_repeats(call, wait, *, repeats: int) -> float:
    """Median seconds of `call`, after two calls that compile and warm up."""
    for _ in range(2):
        wait(call())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        wait(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def run_actjax(batch: int, size: int, dtype: str, repeats: int) -> dict:
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np

    from actjax.models import TSM
    from actjax.tasks.recognition.task import recognition_task
    from actjax.training import devices, step, tsm_optimizer

    task = recognition_task(TSM(num_classes=400, depth=50, dtype=dtype), average_clips="prob")
    schedule = lambda n: 0.01
    tx = functools.partial(tsm_optimizer, schedule=schedule)
    mesh = devices.make_mesh(1)
    state = jax.jit(functools.partial(step.create_state, seed=0, init=task.init, tx=tx))()
    update = jax.jit(
        functools.partial(step.update, loss=task.loss, tx=tx, schedule=schedule, mesh=mesh, bn="global"),
        donate_argnums=0,
    )
    predict = jax.jit(task.predict)
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (batch, 1, FRAMES, size, size, 3), dtype=np.uint8)
    data = jax.device_put({"video": clips, "label": rng.integers(0, 400, batch, dtype=np.int32)})
    forward = time_repeats(lambda: predict(state.variables, data), jax.block_until_ready, repeats=repeats)

    def train():
        nonlocal state
        state, numbers = update(state, data)
        return numbers

    training = time_repeats(train, jax.block_until_ready, repeats=repeats)
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use") or peak_of_process()
    square = jnp.ones((2048, 2048), dtype)
    product = jax.jit(lambda a: a @ a)
    peak = 2 * 2048**3 / time_repeats(lambda: product(square), jax.block_until_ready, repeats=10)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.variables["params"]))
    return dict(
        forward=forward, training=training, memory=memory, peak=peak, device=device.device_kind, parameters=parameters
    )


def run_torch(batch: int, size: int, dtype: str, repeats: int) -> dict:
    import torch
    from torch_tsm import TorchTSM

    gpu = torch.cuda.is_available()
    device = "cuda" if gpu else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # TF32, as jax does by default
    torch.backends.cudnn.allow_tf32 = True
    model = TorchTSM().to(device, memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in model.parameters())
    compiled = torch.compile(model) if gpu else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    clips = torch.randint(0, 256, (batch, FRAMES, size, size, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, 400, (batch,), device=device)
    autocast = lambda: torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16")
    wait = lambda _: torch.cuda.synchronize() if gpu else None

    def forward():
        with torch.inference_mode(), autocast():
            return compiled(clips).softmax(-1)

    def train():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = torch.nn.functional.cross_entropy(compiled(clips), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 20.0)
        optimizer.step()

    model.eval()
    forward_seconds = time_repeats(forward, wait, repeats=repeats)
    model.train()
    training = time_repeats(train, wait, repeats=repeats)
    memory = torch.cuda.max_memory_allocated() if gpu else peak_of_process()
    square = torch.ones(2048, 2048, dtype=getattr(torch, dtype), device=device)
    peak = 2 * 2048**3 / time_repeats(lambda: square @ square, wait, repeats=10)
    name = torch.cuda.get_device_name() if gpu else "cpu"
    return dict(
        forward=forward_seconds, training=training, memory=memory, peak=peak, device=name, parameters=parameters
    )


def peak_of_process() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


SIDES = {"actjax": run_actjax, "torch": run_torch}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2, help="clips per step")
    parser.add_argument("--size", type=int, default=224, help="height and width of a frame")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=sorted(SIDES), help="measure one side and print JSON")
    args = parser.parse_args()
    if args.side:
        print(json.dumps(SIDES[args.side](args.batch, args.size, args.dtype, args.repeats)))
        return
    results = {}
    for side in SIDES:
        options = [f"--{name}={getattr(args, name)}" for name in ("batch", "size", "dtype", "repeats")]
        done = subprocess.run(
            [sys.executable, __file__, f"--side={side}", *options], stdout=subprocess.PIPE, check=True, timeout=3600
        )
        results[side] = json.loads(done.stdout.splitlines()[-1])
    assert results["actjax"]["parameters"] == results["torch"]["parameters"], "the two sides are not the same net"
    device = results["actjax"]["device"]
    machine = f"{device} ({platform.machine()})"
    clip = f"{FRAMES}x{args.size}x{args.size}"
    print(f"TSM-R50, {args.batch} clips of {clip}, {args.dtype}, on {machine}, {time.strftime('%Y-%m-%d')}")
    print(f"{'':10}{'':8}{'ms':>10}{'clips/s':>10}{'of peak':>9}{'memory':>10}")
    measured = max(result["peak"] for result in results.values())
    peak = next((flops for (name, dtype), flops in PEAKS.items() if name in device and dtype == args.dtype), measured)
    print(f"peak: {peak / 1e12:.2f} TFLOP/s")
    for kind, factor in (("forward", 1), ("training", 3)):
        for side, result in results.items():
            seconds = result[kind]
            flops = args.batch * FORWARD_FLOPS * (args.size / 224) ** 2 * factor
            share = flops / seconds / peak
            memory = f"{result['memory'] / 2**30:.1f} GiB"
            print(f"{kind:10}{side:8}{seconds * 1e3:10.1f}{args.batch / seconds:10.2f}{share:9.0%}{memory:>10}")
        print(f"{kind:10}ratio   torch / actjax = {results['torch'][kind] / results['actjax'][kind]:.2f}")


if __name__ == "__main__":
    main()
