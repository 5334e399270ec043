"""Metadata and dependencies of actjax; tool settings are in pyproject.toml.

`actjax.__version__` reads the version from here, or where there is no setup.py from the installed package.
"""

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
        "setuptools>=77",
    ],  # fmt: skip
}

HOME = "https://github.com/actjax/actjax"

setup(
    name="actjax",
    version="0.1.0",
    description="Video action recognition and temporal action localization in JAX",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    author="The actjax authors",
    url=HOME,
    project_urls={
        "Documentation": f"{HOME}/blob/main/docs/guide.md",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
        "Source": HOME,
        "Issues": f"{HOME}/issues",
    },
    keywords="video, action recognition, temporal action localization, JAX, Flax, TSN, TSM, SSN, BSN, BMN",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    python_requires=">=3.11",
    # The recipes stay at the top of the repository, and become a part of the package where it is installed.
    packages=[*find_packages(include=["actjax", "actjax.*"]), "actjax.configs"],
    package_dir={"actjax.configs": "configs"},
    entry_points={
        "console_scripts": ["actjax=actjax.__main__:main", "actjax-metrics=actjax.metrics.__main__:main"],
    },
    # What the commands of README.md and the guide use on any machine. Only OpenCV, PyAV, decord, ml-collections,
    # safetensors, simplejpeg and tensorboardX come for actjax alone: flax, grain, orbax and tfds need all others, too.
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8",  # prepared sets
        "av>=18.1",
        "cloudpickle>=3",  # sends functions to the reader processes
        # A second reader of videos, where it has wheels that run on every Python.
        "decord>=0.6.0; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "etils[epath]>=1.12",  # URLs of object stores
        "flax>=0.12,<0.14",
        "grain>=0.2.18",
        "importlib_resources>=6",  # which tensorflow-datasets forgets to ask for
        "jax>=0.10",
        "ml-collections>=1.1",
        "ml-dtypes>=0.5",  # bfloat16 in checkpoints
        "numpy>=2.1",
        "opencv-python-headless>=4.11",  # resamples every frame and writes the sample sets
        "safetensors>=0.5",  # --mode=import and --mode=export
        "simplejpeg>=1.8",  # frames of prepared sets
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "rich>=14",
        "tensorboardX>=2.6.4",  # every training writes events
        "tensorflow-datasets>=4.9.9",  # needs no TensorFlow for what is done here
    ],
    extras_require=EXTRAS,
)
