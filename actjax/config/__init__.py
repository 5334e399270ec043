"""Configs: files and recipes -> sections, overridden and checked against the functions that read them.

sections: a section and the function that takes it. readers: all functions that read a section. values: what a config
may hold. files: config files and saved configs. recipe_files: recipes by bare name. overrides: changes of a config.
typed_text: text -> values. own_code, active_code: code that a config brings.
"""

from actjax.config.readers import Reader, filled
from actjax.config.sections import bind, find, of_a_run, parse_arg, pick, plain, refusing, unknown

__all__ = ["Reader", "bind", "filled", "find", "of_a_run", "parse_arg", "pick", "plain", "refusing", "unknown"]
