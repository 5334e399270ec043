"""Eight CPU devices for every test. Compiling takes half of the time, so LLVM optimises little, and what is compiled is
kept for the other processes of a session. All this before jax starts."""

import atexit
import os
import shutil
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # processes of xdist find it there
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="actjax-compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ["XLA_FLAGS"] = " ".join(
    ("--xla_backend_optimization_level=0", os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8")
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import contextlib
import ctypes
import gc
import pathlib
import resource
import sys
from collections.abc import Callable

import pytest
from hypothesis import settings

settings.register_profile("machine", deadline=None)  # machines are slow at times; that is no fault
settings.load_profile("machine")

TESTS = pathlib.Path(__file__).parent
GOLDEN, MEDIA, ROOT = TESTS / "golden", TESTS / "media", TESTS.parent


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    return GOLDEN


@pytest.fixture(scope="session")
def media() -> pathlib.Path:
    return MEDIA


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> pathlib.Path:
    """What the processes that a worker starts keep for each other: see `cli.environment`."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> pathlib.Path:
    """A small sample set: 64 training and 40 validation videos."""
    from actjax.data.samples.shapes import make_shapes

    return make_shapes(tmp_path_factory.mktemp("data") / "shapes", num_train=64, num_val=40, processes=2)


@pytest.fixture(scope="session")
def cached(cache):
    """Sample sets are in `cache` in this process, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACTJAX_CACHE", str(cache))
        yield cache


@pytest.fixture(scope="session")
def recogniser(tmp_path_factory, cached) -> pathlib.Path:
    """A tiny run of TSM. Tests copy it before they change it, as those below."""
    from tiny_runs import make_recogniser

    return make_recogniser(tmp_path_factory.mktemp("runs") / "recogniser")


@pytest.fixture(scope="session")
def detector(tmp_path_factory, recogniser) -> pathlib.Path:
    """A tiny run of BMN on logits of the recogniser."""
    from tiny_runs import train_bmn

    return train_bmn(tmp_path_factory.mktemp("runs") / "detector", recogniser)


@pytest.fixture(scope="session")
def localizer(tmp_path_factory, detector) -> pathlib.Path:
    """The same, as if it had also learnt a class that the recogniser does not know: it finds proposals alone."""
    from tiny_runs import copied, facts

    workdir = copied(detector, tmp_path_factory.mktemp("runs") / "localizer")
    facts(workdir, classes=["diving", "moving left"])
    return workdir


def forget_compiled() -> None:
    """Frees compiled functions, which later tests do not use and which together take gigabytes."""
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of memory that the process holds; elsewhere than on Linux, the most that it has held."""
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


@pytest.fixture(scope="session")
def small() -> Callable[[], None]:
    """Frees memory beyond 1 GiB when the process has grown by 512 MiB since it last did."""
    least = 2**29

    def free_if_grown() -> None:
        nonlocal least
        if resident() > least + 2**29:
            forget_compiled()
            least = max(resident(), 2**29)

    return free_if_grown


@pytest.fixture(autouse=True)
def small_between_tests(small):
    """What was compiled serves the tests after it, until it takes too much memory."""
    yield
    small()
