"""The recipes, one file each, installed as `actjax.configs`: `--config=tsm_shapes` stands for `tsm_shapes.py` here.

A recipe has a function `get_config(arg)` that returns a `ConfigDict`; `arg` is what follows the colon of `NAME:ARG`.
"""
