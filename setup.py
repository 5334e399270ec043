"""Metadata and dependencies of actjax; tool settings are in pyproject.toml."""

import pathlib

from setuptools import find_packages, setup

EXTRAS = {
    "gpu": ["jax[cuda13]"],
    "plots": ["matplotlib>=3.9"],
    "remote": ["fsspec>=2024.6", "gcsfs>=2024.6"],
    "torch": ["torch>=2.6"],  # the other side of benchmarks and trajectory tests
    "test": [
        "fsspec>=2024.6",
        "gcsfs>=2024.6",
        "hypothesis>=6.100",
        "ipykernel>=6.29",
        "matplotlib>=3.9",
        "nbformat>=5.10",
        "papermill>=2.6",
        "pillow>=10",
        "pytest>=8",
        "pytest-xdist>=3.6",
        "ruff>=0.12",
    ],  # fmt: skip
}

setup(
    name="actjax",
    version="0.1.0",
    description="Video action recognition and temporal action localization in JAX",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["actjax", "actjax.*"]),
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8",
        "av>=16.1",
        "cloudpickle>=3",
        # A second reader of videos, where it has wheels that run on every Python.
        "decord>=0.6.0; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "etils[epath]>=1.12",
        "flax>=0.12,<0.14",
        "grain>=0.2.18",
        "importlib_resources>=6",  # which tensorflow-datasets forgets to ask for
        "jax>=0.10",
        "ml-collections>=1.1",
        "numpy>=2.1",
        "opencv-python-headless>=4.11",
        "safetensors>=0.5",
        "simplejpeg>=1.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "rich>=14",
        "tensorboardX>=2.6.4",
        "tensorflow-datasets>=4.9.9",  # needs no TensorFlow for what is done here
    ],
    extras_require=EXTRAS,
)
