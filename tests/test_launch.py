"""experiments/launch/: the files parse, and what they hand to actjax exists."""

import os
import re
import subprocess

import pytest
from conftest import ROOT

from actjax import main
from actjax.config.recipe_files import recipe_path
from actjax.hosts import ENVIRONMENTS, K8S
from actjax.training.distributed import LOST, PREEMPTED

FILES = sorted((ROOT / "experiments" / "launch").iterdir())
OVERRIDE = re.compile(r"--config\.([a-z_.]+)=")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_flags_configs_and_keys_exist(file):
    text = file.read_text()
    (config,) = set(re.findall(r"(?:--config=|CONFIG:-)(\w+)", text))
    parts = {}
    exec(compile(recipe_path(config).read_text(), config, "exec"), parts)  # as ml_collections does
    keys = set(OVERRIDE.findall(text))
    assert keys >= {"data.train", "data.val", "run.batch_size", "loader.num_workers"}
    recipe = parts["get_config"]()
    for key in keys:
        section = recipe
        for name in key.split("."):
            assert name in section, f"{file.name}: --config.{key}"
            section = section[name]
    launched = re.findall(r"^\s*(?:- )?--(\w[\w-]*)=", text, re.M)
    for name in set(launched) - {"kill-on-bad-exit"}:
        assert name in main.flags.FLAGS, f"{file.name}: --{name}"
    assert {"config", "workdir"} <= set(launched)


@pytest.mark.parametrize("file", [f for f in FILES if f.suffix != ".yaml"], ids=lambda file: file.name)
def test_shell_parses(file):
    subprocess.run(["bash", "-n", file], check=True, timeout=30)


def test_slurm_queues_again_what_goes_on():
    text = (ROOT / "experiments" / "launch" / "slurm.sbatch").read_text()
    assert "--distributed=slurm" in text and "slurm" in ENVIRONMENTS
    (statuses,) = re.findall(r"^([\d |]+)\)$", text, re.M)
    again = {int(status) for status in statuses.split("|")}
    assert {PREEMPTED, LOST} <= again and 1 not in again


@pytest.mark.parametrize(
    "status, restarts, queued",
    [(0, 0, False), (1, 0, False), (75, 0, True), (75, 99, True), (134, 0, True), (134, 100, False), (143, 3, True)],
)
def test_slurm_queues_again_so_often(tmp_path, status, restarts, queued):
    """The script with commands of Slurm that note their arguments."""
    for name, text in (("srun", f"exit {status}"), ("scontrol", f"echo $* >> {tmp_path}/told"), ("activate", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "activate").rename(tmp_path / "bin" / "activate")
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "VENV": str(tmp_path), "SLURM_JOB_ID": "7"}
    given |= {"SLURM_RESTART_COUNT": str(restarts)} if restarts else {}
    done = subprocess.run(["bash", ROOT / "experiments" / "launch" / "slurm.sbatch"], env=given, timeout=30)
    assert done.returncode == status
    assert (tmp_path / "told").exists() == queued


def test_the_table_of_exit_statuses_names_them_all():
    text = (ROOT / "docs" / "scaling.md").read_text()
    table = text[text.index("| exit status |") :].split("\n\n")[0]
    for status in (0, 1, PREEMPTED, LOST, 137, 143):
        assert re.search(rf"^\|[^|]*\b{status}\b", table, re.M), status
    assert "76" not in table


def test_kubernetes_hangs_together():
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((ROOT / "experiments" / "launch" / "kubernetes.yaml").read_text())
    pod, spec = job["spec"]["template"]["spec"], job["spec"]
    (container,) = pod["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    index, address, count = K8S
    assert index == "JOB_COMPLETION_INDEX" and spec["completionMode"] == "Indexed"  # which sets it
    assert set(variables) == {address, count}
    assert int(variables[count]) == spec["completions"] == spec["parallelism"]
    assert variables[address].startswith(f"{job['metadata']['name']}-0.{service['metadata']['name']}:")
    assert service["spec"]["clusterIP"] == "None" and pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert "--distributed=k8s" in container["args"]
    ignored, _, fails = spec["podFailurePolicy"]["rules"]  # the first that matches counts
    assert ignored["action"] == "Ignore" and ignored["onExitCodes"]["values"] == [PREEMPTED]
    assert spec["backoffLimit"] > 0  # LOST counts: nothing tells a lost process from one that never starts
    assert fails["action"] == "FailJob" and fails["onExitCodes"]["values"] == [1]
    assert ignored["onExitCodes"]["containerName"] == container["name"] and pod["restartPolicy"] == "Never"
