"""Where a process stands among those of a run, and what a wrong start is answered: no JAX, no training."""

import socket
import threading

import pytest
from cli import free_port

from actjax.hosts import Place, StartError, check_address, find_place, timeout

SLURM = {
    "SLURM_JOB_ID": "5000",
    "SLURM_STEP_NODELIST": "gpu[007-009,012],login1",
    "SLURM_NTASKS": "5",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "3",
    "SLURM_STEP_TASKS_PER_NODE": "1(x5)",
}
K8S = {"JOB_COMPLETION_INDEX": "1", "JAX_COORDINATOR_ADDRESS": "run-0.run:1234", "JAX_NUM_PROCESSES": "4"}
SHARED = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_NODEID": "1", "SLURM_LOCALID": "1"}


@pytest.mark.parametrize(
    ("spec", "environ", "place"),
    [
        ("10.0.0.1:1234,4,3", {}, Place("10.0.0.1", 1234, 4, 3)),
        ("[fd00::1]:1234,2,0", {}, Place("fd00::1", 1234, 2, 0)),
        ("slurm", SLURM, Place("gpu007", 61440 + 5000 % 4096, 5, 3)),  # one task a node has all its GPUs
        ("slurm", SHARED, Place("gpu007", 61440 + 5000 % 4096, 5, 3, (1,))),
        ("slurm", SHARED | {"SLURM_GPUS_PER_TASK": "2"}, Place("gpu007", 61440 + 5000 % 4096, 5, 3)),
        ("slurm", SLURM | {"SLURM_STEP_NODELIST": "n1,n2", "JAX_COORDINATOR_PORT": "99"}, Place("n1", 99, 5, 3)),
        ("slurm", SLURM | {"SLURM_STEP_NODELIST": "r[3-4]n[08-9]-ib,x"}, Place("r3n08-ib", 62344, 5, 3)),
        ("k8s", K8S, Place("run-0.run", 1234, 4, 1)),
        ("k8s", K8S | {"JAX_COORDINATOR_ADDRESS": "run-0.run"}, Place("run-0.run", 8476, 4, 1)),
        ("auto", K8S, Place("run-0.run", 1234, 4, 1)),
        ("auto", SLURM | K8S, Place("gpu007", 62344, 5, 3)),
    ],
)
def test_place(spec, environ, place):
    assert find_place(spec, environ) == place


@pytest.mark.parametrize(
    ("spec", "environ", "says"),
    [
        ("10.0.0.1:1234,4", {}, "expected HOST:PORT,N,I or one of auto, slurm, k8s, tpu"),
        ("slrum", {}, "expected HOST:PORT,N,I or one of auto"),
        ("10.0.0.1,4,3", {}, "HOST:PORT: '10.0.0.1' is not an address"),
        (":1234,4,3", {}, "HOST:PORT: ':1234' is not an address"),
        ("h:port,4,3", {}, "HOST:PORT: 'port' is not a whole number"),
        ("h:70000,4,3", {}, "HOST:PORT: 70000 is not a port"),
        ("h:1234,four,3", {}, "N: 'four' is not a whole number"),
        ("h:1234,0,0", {}, "0 processes; at least one is needed"),
        ("h:1234,4,-1", {}, "I: '-1' is not a whole number"),
        ("h:1234,4,4", {}, "process 4 of 4; processes are numbered from 0 to 3"),
        ("slurm", {k: v for k, v in SLURM.items() if k != "SLURM_PROCID"}, "SLURM_PROCID not set; start the .* srun"),
        ("slurm", SLURM | {"SLURM_STEP_TASKS_PER_NODE": "many"}, "SLURM_STEP_TASKS_PER_NODE=many: expected"),
        ("slurm", SLURM | {"SLURM_STEP_TASKS_PER_NODE": "5"}, "SLURM_NODEID=3 .* 1 nodes"),
        ("k8s", {"JOB_COMPLETION_INDEX": "1"}, "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES not set"),
        ("k8s", K8S | {"JOB_COMPLETION_INDEX": "4"}, "k8s: process 4 of 4"),
        ("tpu", {}, "this is not a Cloud TPU VM"),
        ("auto", {"SLURM_JOB_ID": "1"}, "slurm lacks SLURM_STEP_NODELIST.*k8s lacks JOB_.*tpu: this is not a Cloud"),
    ],
)
def test_what_is_wrong_is_named(spec, environ, says):
    with pytest.raises(ValueError, match=says) as raised:
        find_place(spec, environ)
    assert "\n" not in str(raised.value)


def test_gke_names_the_hosts_of_a_tpu(monkeypatch):
    from jax._src.clusters import cloud_tpu_cluster

    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost,other")
    monkeypatch.setenv("TPU_WORKER_ID", "1")
    monkeypatch.setattr(cloud_tpu_cluster, "get_tpu_env_value_from_metadata", lambda key: None)
    assert find_place("tpu", {}) == find_place("auto", {}) == Place("localhost", 8482, 2, 1)


@pytest.mark.parametrize("text", ["soon", "0", "-3", "inf"])
def test_timeout_is_a_number_of_seconds(text):
    assert timeout({}) == 300
    with pytest.raises(ValueError, match=f"ACTJAX_DISTRIBUTED_TIMEOUT={text}"):
        timeout({"ACTJAX_DISTRIBUTED_TIMEOUT": text})


def test_process_0_finds_its_port_free_or_in_use():
    port = free_port()
    check_address(Place("localhost", port, 2, 0), timeout=1.0)
    with socket.create_server(("", port)):
        with pytest.raises(StartError, match=f"port {port} is in use .* another process 0"):
            check_address(Place("localhost", port, 2, 0), timeout=1.0)
        check_address(Place("localhost", port, 2, 1), timeout=1.0)


def test_a_process_0_that_is_not_there():
    port = free_port()
    says = f"localhost, port {port}, within 0.5 s .*refused.*is it running there.*firewall.*ACTJAX_DISTRIBUTED_TIMEOUT"
    with pytest.raises(StartError, match=says):
        check_address(Place("localhost", port, 2, 1), timeout=0.5)
    with pytest.raises(StartError, match="cannot reach process 0 at no.such.host.invalid"):
        check_address(Place("no.such.host.invalid", port, 2, 1), timeout=0.5)


def test_a_process_0_that_comes_later():
    port = free_port()
    with socket.socket() as server:
        server.bind(("localhost", port))
        late = threading.Timer(0.3, server.listen)
        late.start()
        check_address(Place("localhost", port, 2, 1), timeout=30.0)
        late.join()
