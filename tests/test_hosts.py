"""Where a process stands among those of a run, and what a wrong start is answered: no JAX, no training."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from cli import ROOT, free_port

from actjax.hosts import LOST, Link, LinkError, Place, find_place, link, timeout

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
        ("10.0.0.1,4,3", {}, "HOST:PORT: '10.0.0.1' is no address"),
        (":1234,4,3", {}, "HOST:PORT: ':1234' is no address"),
        ("h:port,4,3", {}, "HOST:PORT: 'port' is no whole number"),
        ("h:70000,4,3", {}, "HOST:PORT: 70000 is no port"),
        ("h:1234,four,3", {}, "N: 'four' is no whole number"),
        ("h:1234,0,0", {}, "0 processes; there must be one"),
        ("h:1234,4,-1", {}, "I: '-1' is no whole number"),
        ("h:1234,4,4", {}, "process 4 of 4; they count from 0 to 3"),
        ("slurm", {k: v for k, v in SLURM.items() if k != "SLURM_PROCID"}, "SLURM_PROCID not set; start the .* srun"),
        ("slurm", SLURM | {"SLURM_STEP_TASKS_PER_NODE": "many"}, "SLURM_STEP_TASKS_PER_NODE=many: expected"),
        ("slurm", SLURM | {"SLURM_STEP_TASKS_PER_NODE": "5"}, "SLURM_NODEID=3 .* 1 nodes"),
        ("k8s", {"JOB_COMPLETION_INDEX": "1"}, "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES not set"),
        ("k8s", K8S | {"JOB_COMPLETION_INDEX": "4"}, "k8s: process 4 of 4"),
        ("tpu", {}, "this is no Cloud TPU VM"),
        ("auto", {"SLURM_JOB_ID": "1"}, "slurm lacks SLURM_STEP_NODELIST.*k8s lacks JOB_.*tpu: this is no Cloud TPU"),
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


def start(*specs: tuple[int, int], seconds: float = 20.0, port: int | None = None) -> list:
    """Links of processes (count, index), each in a thread -> what came of each: a `Link` or a `LinkError`."""
    port, results = port or free_port(), [None] * len(specs)

    def one(k: int) -> None:
        count, index = specs[k]
        try:
            results[k] = Link(Place("localhost", port, count, index), timeout=seconds)
        except LinkError as error:
            results[k] = error

    threads = [threading.Thread(target=one, args=(k,)) for k in range(len(specs))]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(timeout=60)
    return results


@pytest.mark.parametrize(
    ("specs", "says"),
    [
        ([(2, 0), (3, 1)], "process 0 was started as one of 2 processes, process 1 as one of 3"),
        ([(3, 2), (2, 0)], "process 0 was started as one of 2 processes, process 2 as one of 3"),
        ([(3, 0), (3, 1), (3, 1)], "two processes were started as number 1 of 3"),
        ([(4, 0), (4, 2)], r"of 4 processes these did not come within 1 s: 1, 3 \(did they start"),
    ],
)
def test_all_hear_why_they_do_not_find_together(specs, says):
    results = start(*specs, seconds=1.0)
    for result in results:
        assert isinstance(result, LinkError) and re.search(says, str(result)), result


def test_a_process_0_that_is_not_there():
    port = free_port()
    with pytest.raises(LinkError, match=f"localhost, port {port}, within 0.5 s .*refused.*does it run there.*firewall"):
        Link(Place("localhost", port, 2, 1), timeout=0.5)
    with pytest.raises(LinkError, match="cannot reach process 0 at no.such.host.invalid"):
        Link(Place("no.such.host.invalid", port, 2, 1), timeout=0.5)


def test_a_port_in_use():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LinkError, match=f"port {port} is in use .* another process 0"):
            Link(Place("localhost", port, 2, 0), timeout=1.0)


def test_strangers_and_restarted_processes_do_not_disturb_the_roll_call():
    port = free_port()
    found = []
    zero = threading.Thread(target=lambda: found.append(Link(Place("localhost", port, 3, 0), timeout=20.0)))
    zero.start()
    time.sleep(0.1)
    for text in (b"GET / HTTP/1.1\r\n\r\n", b'{"index": 1}\n', b'{"index": 1, "count": 3, "host": "before"}\n'):
        with socket.create_connection(("localhost", port)) as connection:
            connection.sendall(text)
    rest = start((3, 1), (3, 2), port=port)
    zero.join(timeout=30)
    assert [type(x) for x in [*found, *rest]] == [Link] * 3
    stop_together([*found, *rest])


def stop_together(links: list) -> list[int]:
    """Lets every process make steps of its own pace until it hears to stop -> how many each made; then all leave."""
    made = [0] * len(links)

    def steps(k: int) -> None:
        while True:
            made[k] += 1
            if links[k].stop_here():
                break
            time.sleep(0.001 * (k + 1))
        links[k].leave()

    threads = [threading.Thread(target=steps, args=(k,)) for k in range(len(links))]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    for asking in links[1:]:  # two at once are one
        asking.stop_soon()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    return made


def test_all_stop_after_the_same_step():
    made = stop_together(start((3, 0), (3, 1), (3, 2)))
    assert len(set(made)) == 1 and made[0] > 10


def test_all_wait_for_the_last():
    links, seen = start((3, 0), (3, 1), (3, 2)), []

    def come(k: int) -> None:
        for turn in range(3):
            time.sleep(0.05 * ((k + turn) % 3))
            seen.append(turn)
            links[k].wait(f"turn {turn}")
        links[k].leave()

    threads = [threading.Thread(target=come, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert seen == [0, 0, 0, 1, 1, 1, 2, 2, 2] and not any(thread.is_alive() for thread in threads)


PROGRAM = """
import sys, time
from actjax.hosts import Link, Place, link
link.BEAT, link.SILENT = 0.2, float(sys.argv[3])
joined = Link(Place("localhost", int(sys.argv[1]), 3, int(sys.argv[2])), timeout=30)
print("joined", flush=True)
time.sleep(0.5)
if sys.argv[4] == sys.argv[2]:
    joined.fail("no luck")
    sys.exit(3)
time.sleep(60)
"""


# On a busy machine a connection may close before the reason is read: a race in `hosts.link`, which issue 20 removes.
FLAKY = pytest.param("failed", marks=pytest.mark.xfail(strict=False, reason="a race in hosts.link; see issue 20"))


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("how", ["killed", "stopped", FLAKY])
def test_whoever_ends_ends_the_others(victim, how):
    port, limit = free_port(), 1.5 if how == "stopped" else 40
    fails = victim if how == "failed" else -1
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(index), str(limit), str(fails)],
            cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for index in range(3)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout.readline() == "joined\n"
        if how != "failed":
            os.kill(processes[victim].pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        for index, process in enumerate(processes):
            if index == victim:
                continue
            _, errors = process.communicate(timeout=20)
            if how == "failed":
                assert (process.returncode, errors) == (1, f"error: process {victim} failed: no luck\n")
            else:
                why = "its connection was closed" if how == "killed" else "nothing was heard of it for 2 s"
                line = f"error: lost process {victim} ({why}); {link.RESTART}\n"
                assert (process.returncode, errors) == (LOST, line)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
