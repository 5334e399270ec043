"""The place of this process in a distributed run, from `--distributed=`, and a check of process 0's address.

Importing this module does not import JAX, so a wrong flag fails before JAX is loaded. `training/distributed.py` starts
`jax.distributed`.
"""

import errno
import re
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

DEFAULT_PORT = 8476
TIMEOUT = "ACTJAX_DISTRIBUTED_TIMEOUT"
SLURM = (
    "SLURM_JOB_ID",
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_STEP_TASKS_PER_NODE",
)
K8S = ("JOB_COMPLETION_INDEX", "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES")


class StartError(Exception):
    """The processes cannot connect at the address of process 0; the message says why, in one line."""


class Place(NamedTuple):
    """Process `index` of `count`; process 0 listens at `host`:`port`.

    devices: numbers of the GPUs on this host that the process uses; None: all.
    """

    host: str
    port: int
    count: int
    index: int
    devices: tuple[int, ...] | None = None


def find_place(spec: str, environ: Mapping[str, str]) -> Place:
    """The place given by `spec`, or read from the environment that `spec` names.

    Raises:
      ValueError: a field of the spec or a variable is missing or wrong; the message names it.
    """
    if spec == "auto":
        return _auto(environ)
    if spec in ENVIRONMENTS:
        variables, of = ENVIRONMENTS[spec]
        if missing := _missing(variables, environ):
            raise ValueError(f"--distributed={spec}: {', '.join(missing)} not set; {HINTS[spec]}")
        return of(environ)
    return _explicit(spec)


def timeout(environ: Mapping[str, str]) -> float:
    """Seconds that processes wait for each other at the start. Raises ValueError for an invalid number."""
    text = environ.get(TIMEOUT, "300")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{TIMEOUT}={text}: expected a positive number of seconds")
    return seconds


def check_address(place: Place, *, timeout: float) -> None:
    """In process 0, checks that its port is free. In other processes, waits up to `timeout` seconds for process 0.

    JAX would abort after its own timeout without saying why, and would not notice a second process 0 on the same port.

    Raises:
      StartError: the port is in use, or process 0 does not answer.
    """
    if place.index == 0:
        return _check_port_is_free(place.port)
    why, end = "", time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        try:
            return socket.create_connection((place.host, place.port), timeout=min(left, 10.0)).close()
        except OSError as error:
            why = error.strerror or str(error)
        time.sleep(min(0.5, left))
    raise StartError(
        f"cannot reach process 0 at {place.host}, port {place.port}, within {timeout:g} s ({why}): is it running "
        f"there, or does a firewall block the port? {TIMEOUT} sets the time limit in seconds"
    )


def _check_port_is_free(port: int) -> None:
    both = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    try:
        socket.create_server(("", port), **both).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise StartError(f"process 0 cannot listen on port {port}: {error.strerror}") from error
        raise StartError(
            f"port {port} is in use on this host: is another process 0 running here? Stop it, or choose another port"
        ) from error


def _auto(environ: Mapping[str, str]) -> Place:
    lacking = []
    for name, (variables, of) in ENVIRONMENTS.items():
        if missing := _missing(variables, environ):
            lacking.append(f"{name} lacks {', '.join(missing)}")
            continue
        try:
            return of(environ)
        except NotATpu as error:
            lacking.append(f"tpu: {error}")
    raise ValueError(f"--distributed=auto found no multi-process environment ({'; '.join(lacking)})")


def _missing(variables: tuple[str, ...], environ: Mapping[str, str]) -> list[str]:
    return [name for name in variables if not environ.get(name)]


def _explicit(spec: str) -> Place:
    fields = spec.split(",")
    if len(fields) != 3:
        raise ValueError(f"--distributed={spec}: expected HOST:PORT,N,I or one of auto, {', '.join(ENVIRONMENTS)}")
    where = f"--distributed={spec}"
    host, port = _address(fields[0], f"{where}: HOST:PORT", default=None)
    return _place(host, port, _number(fields[1], f"{where}: N"), _number(fields[2], f"{where}: I"), where)


def _slurm(environ: Mapping[str, str]) -> Place:
    """Hosts and process numbers as in `jax.distributed`, but a task that is alone on its node uses all GPUs, not one.

    Several tasks on a node get one GPU each, unless Slurm assigned their GPUs (`--gpus-per-task`).
    """
    nodes = environ["SLURM_STEP_NODELIST"]
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    if not first:
        raise ValueError(f"SLURM_STEP_NODELIST={nodes}: expected a list of nodes")
    host = re.sub(r"\[(\d+)[^\]]*\]", r"\1", first[0])
    numbers = {name: _number(environ[name], name) for name in SLURM if name.endswith(("ID", "TASKS"))}
    port = environ.get("JAX_COORDINATOR_PORT") or str(61440 + numbers["SLURM_JOB_ID"] % 4096)
    tasks, node = _tasks_of_nodes(environ["SLURM_STEP_TASKS_PER_NODE"]), numbers["SLURM_NODEID"]
    if node >= len(tasks):
        raise ValueError(f"SLURM_NODEID={node} is out of range: SLURM_STEP_TASKS_PER_NODE lists {len(tasks)} nodes")
    alone = tasks[node] == 1
    devices = None if alone or environ.get("SLURM_GPUS_PER_TASK") else (numbers["SLURM_LOCALID"],)
    place = _place(host, _port(port, "JAX_COORDINATOR_PORT"), numbers["SLURM_NTASKS"], numbers["SLURM_PROCID"], "slurm")
    return place._replace(devices=devices)


def _tasks_of_nodes(text: str) -> list[int]:
    """ "2(x3),1" -> [2, 2, 2, 1]."""
    counts = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise ValueError(f"SLURM_STEP_TASKS_PER_NODE={text}: expected counts such as 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _k8s(environ: Mapping[str, str]) -> Place:
    index, address, count = K8S
    host, port = _address(environ[address], address, default=DEFAULT_PORT)
    return _place(host, port, _number(environ[count], count), _number(environ[index], index), "k8s")


class NotATpu(ValueError):
    """This machine is not a Cloud TPU VM."""


def _tpu(environ: Mapping[str, str]) -> Place:
    """As JAX detects it, from GKE's variables or Compute Engine's metadata server."""
    from jax._src.clusters import cloud_tpu_cluster as tpu  # initialises no backend

    cluster = next((c for c in (tpu.GkeTpuCluster, tpu.GceTpuCluster) if c.is_env_present()), None)
    if cluster is None:
        raise NotATpu("this is not a Cloud TPU VM, or libtpu is not installed")
    port = environ.get("JAX_COORDINATOR_PORT")
    address = cluster.get_coordinator_address(timeout_secs=timeout(environ), override_coordinator_port=port)
    host, port = _address(address, "address of process 0", default=None)
    return _place(host, port, cluster.get_process_count(), cluster.get_process_id(), "tpu")


ENVIRONMENTS = {"slurm": (SLURM, _slurm), "k8s": (K8S, _k8s), "tpu": ((), _tpu)}
HINTS = {
    "slurm": "start the processes with srun",
    "k8s": "run as an Indexed Job and set the two JAX_ variables in its template, see docs/scaling.md",
}


def _place(host: str, port: int, count: int, index: int, where: str) -> Place:
    if count < 1:
        raise ValueError(f"{where}: {count} processes; at least one is needed")
    if index >= count:
        raise ValueError(f"{where}: process {index} of {count}; processes are numbered from 0 to {count - 1}")
    return Place(host, port, count, index)


def _address(text: str, what: str, *, default: int | None) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon and default:
        return text, default
    if not host.strip("[]"):
        raise ValueError(f"{what}: {text!r} is not an address; write HOST:PORT")
    return host.strip("[]"), _port(port, what)


def _port(text: str, what: str) -> int:
    port = _number(text, what)
    if not 0 < port < 65536:
        raise ValueError(f"{what}: {port} is not a port; ports go from 1 to 65535")
    return port


def _number(text: str, what: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"{what}: {text!r} is not a whole number")
    return int(text)
