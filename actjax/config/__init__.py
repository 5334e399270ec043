"""Configs: files and recipes -> sections, overridden and checked against the functions that read them.

sections: a section and the function that takes it. files: config files and saved configs. recipe_files: recipes by bare
name. overrides: `--config.SECTION.KEY=VALUE`. typed_text: text -> values. own_code: code that a config brings.
"""

from actjax.config.sections import Reader, bind, filled, find, of_a_run, parse_arg, pick, plain, refusing, unknown

__all__ = ["Reader", "bind", "filled", "find", "of_a_run", "parse_arg", "pick", "plain", "refusing", "unknown"]
