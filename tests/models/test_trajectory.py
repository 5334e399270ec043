"""Eight steps of training in actjax and in plain torch, from the same weights and batches: the same losses."""

import functools
import importlib.util

import jax
import numpy as np
import pytest
from conftest import ROOT
from drawn import drawn_variables

from actjax.models import TSM, export_checkpoint
from actjax.tasks.recognition.task import recognition_task
from actjax.training import devices, step, tsm_optimizer

STEPS, CLASSES = 8, 10


def batch(number):
    rng = np.random.default_rng(number % 4)
    video = rng.integers(0, 256, (2, 8, 48, 48, 3), dtype=np.uint8)
    return video, rng.integers(0, CLASSES, 2, dtype=np.int32)


def losses_of_actjax(model, variables, lr):
    task, schedule = recognition_task(model, average_clips="prob"), lambda n: lr
    tx = functools.partial(tsm_optimizer, schedule=schedule)
    mesh = devices.make_mesh(1)
    create = functools.partial(step.create_state, seed=0, init=lambda key: variables, tx=tx)
    state = jax.jit(create)()
    choices = dict(loss=task.loss, tx=tx, schedule=schedule, mesh=mesh, bn="global")
    update = jax.jit(functools.partial(step.update, **choices))
    losses = []
    for number in range(STEPS):
        video, label = batch(number)
        state, numbers = update(state, {"video": video[:, None], "label": label})
        losses.append(float(numbers["loss"]))
    return losses


def losses_of_torch(torch, path, depth, lr):
    spec = importlib.util.spec_from_file_location("torch_tsm", ROOT / "experiments" / "benchmarks" / "torch_tsm.py")
    torch_tsm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torch_tsm)
    model = torch_tsm.TorchTSM(num_classes=CLASSES, depth=depth, dropout=0.0).train()
    state = torch.load(path, weights_only=True)["state_dict"]
    model.load_state_dict({name.replace(".net.", "."): value for name, value in state.items()}, strict=True)
    groups = {(1, 1): [], (1, 0): [], (5, 1): [], (10, 0): []}  # factors of learning rate and decay
    for name, parameter in model.named_parameters():
        head = name.startswith("cls_head")
        key = ((5, 1) if head else (1, 1)) if parameter.ndim > 1 else ((10, 0) if head else (1, 0))
        groups[key].append(parameter)
    options = [dict(params=p, lr=lr * factor, weight_decay=1e-4 * decay) for (factor, decay), p in groups.items()]
    optimizer, losses = torch.optim.SGD(options, momentum=0.9), []
    for number in range(STEPS):
        video, label = batch(number)
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(video)), torch.from_numpy(label).long())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 20.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.slow
def test_losses_are_torch_s_at_every_step(tmp_path):
    """At a rate that moves the losses by a tenth and more."""
    torch = pytest.importorskip("torch", reason="torch is the other side of this comparison")
    depth, lr = 18, 1e-3
    model = TSM(num_classes=CLASSES, depth=depth, dropout=0.0)
    variables = drawn_variables(model)
    export_checkpoint(variables, model, tmp_path / "start.pth")
    ours = losses_of_actjax(model, variables, lr)
    theirs = losses_of_torch(torch, tmp_path / "start.pth", depth, lr)
    assert np.mean(ours[-4:]) < 0.98 * np.mean(ours[:4])  # it learns
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
