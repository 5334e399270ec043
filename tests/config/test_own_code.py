"""Code that comes with a config: found, copied, imported from the copy, and trusted."""

import gc
import importlib
import pathlib
import sys
import threading

import pytest
from ml_collections import ConfigDict

from actjax.config import find, own_code
from actjax.config.active_code import ActiveCode
from actjax.config.files import load_config
from actjax.config.own_code import OwnCode, allowed, dotted_names, of_config, of_workdir


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """A cache of its own; Python's path and modules as they were."""
    monkeypatch.setenv("ACTJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("mine", "near", "pack", "unused", "my-config"):
            del sys.modules[name]


def write(folder, **files: str):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/').replace('/init/', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path):
    """A config, what it names, what that imports in whatever way, and a neighbour that nobody needs."""
    folder = write(
        tmp_path / "theirs",
        mine="def get_config():\n    return dict(task='recognition', model=dict(name='pack.nets:Net'))",
        near="def crop(): return 'near'",
        unused="raise RuntimeError('imported')",
        pack__nets="from . import base\nfrom .deep.inner import x\ndef late(): import near\nclass Net: pass",
        pack__base="import os, numpy",
        pack__deep__inner="x = 1",
    )
    (folder / "pack" / "__init__.py").touch()
    (folder / "pack" / "deep" / "__init__.py").touch()
    return folder


FILES = ("mine.py", "near.py", *(f"pack/{n}.py" for n in ("__init__", "base", "deep/__init__", "deep/inner", "nets")))


def test_the_files_are_those_that_are_named_or_imported(folder):
    config, file = load_config(str(folder / "mine.py"))
    code = of_config(file, config)
    assert tuple(sorted(code.files)) == FILES and code.names == ("pack.nets:Net",) and code.folder == folder
    assert "pack" not in sys.modules
    assert of_config(file, {"model": {"name": "TSM"}}) is None


def test_dotted_names_at_any_depth():
    config = ConfigDict(
        dict(a=dict(b=("x.y:z", "plain", 3)), c="C:/folder", d="gs://b/c", e=[dict(name="p:Q")], f="a:b c")
    )
    assert dotted_names(config) == ("p:Q", "x.y:z")


def test_a_run_uses_its_copy(folder, tmp_path):
    config, file = load_config(str(folder / "mine.py"))
    code = of_config(file, config)
    code.save(tmp_path / "run")
    copy = of_workdir(tmp_path / "run", config.to_dict() | {"code": code.digest})
    assert copy.files == code.files and copy.folder == tmp_path / "run" / "code" / code.digest
    (folder / "near.py").write_text("def crop(): return 'edited'")
    with ActiveCode(copy.files).turn():
        assert find({}, "near:crop", "view.name")() == "near"
    assert "near" not in sys.modules
    # Edited code is another copy, which takes the place of the first.
    again = of_config(file, config)._replace(names=("near:crop",))
    assert again.digest != code.digest
    again.save(tmp_path / "run")
    with ActiveCode(again.files).turn():
        assert find({}, "near:crop", "view.name")() == "edited"
    assert len(list((tmp_path / "run" / "code").iterdir())) == 2


def test_trust(folder, tmp_path):
    config, file = load_config(str(folder / "mine.py"))
    code = of_config(file, config)
    code.save(tmp_path / "run")
    saved = config.to_dict() | {"code": code.digest}
    found = of_workdir(tmp_path / "run", saved)
    assert found.digest == code.digest and not found.trusted
    with (
        allowed(found, "RUN", trust=False),
        pytest.raises(ValueError, match="RUN runs code of its own, .*nets.py.*--trust_"),
    ):
        find({}, "pack.nets:Net", "model.name")
    assert "pack" not in sys.modules and str(found.folder) not in sys.path
    code.remember()
    assert found.trusted and not found._replace(names=("os:system",)).trusted
    with allowed(found, "RUN", trust=False):
        assert find({}, "pack.nets:Net", "model.name").__name__ == "Net"
    (found.folder / "near.py").write_text("changed = True")
    assert not of_workdir(tmp_path / "run", saved).trusted


def test_names_of_installed_modules_are_code_too(tmp_path):
    """A strange config that names `os:system` calls nothing."""
    code = of_workdir(tmp_path, {"data": {"name": "os:system", "command": "true"}})
    assert code.files == {}
    with (
        allowed(code, "RUN", trust=False),
        pytest.raises(ValueError, match="RUN runs os:system, and was not made here"),
    ):
        find({}, "os:system", "data.name")
    with allowed(code, "RUN", trust=True):
        assert callable(find({}, "os:system", "data.name"))
    assert of_workdir(tmp_path, {"data": {"name": "videos"}}) is None


@pytest.mark.parametrize(("digest", "error"), [("../..", ValueError), ("0" * 16, FileNotFoundError), (3, ValueError)])
def test_a_copy_that_is_not_there(tmp_path, digest, error):
    with pytest.raises(error):
        of_workdir(tmp_path, {"code": digest, "model": {"name": "a:B"}})


@pytest.mark.parametrize("name", ["random", "numpy", "actjax"])
def test_a_file_with_the_name_of_a_library_is_refused(tmp_path, name):
    import numpy  # noqa: F401

    write(tmp_path / "theirs", **{name: "x = len"})
    code = OwnCode(tmp_path / "theirs", {f"{name}.py": b"x = len"}, (f"{name}:x",))
    with pytest.raises(ValueError, match=f"{name}.py has the name of a module of Python or a library; rename it"):
        ActiveCode(code.files)


def test_configs_import_their_neighbours(folder, monkeypatch):
    write(folder, mine="import near\n\n\ndef get_config(arg='none'):\n    return dict(task=near.crop(), arg=arg)")
    path = list(sys.path)
    assert load_config(str(folder / "mine.py:x=1")).config.to_dict() == {"task": "near", "arg": "x=1"}
    assert "near" not in sys.modules and sys.path == path
    monkeypatch.chdir(folder)
    assert load_config("mine.py").config.arg == "none"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x = 1", ValueError, r"mine.py: a config file defines get_config\(\)"),
        ("def get_config(): return 3", ValueError, r"get_config\(\) returned int"),
        ("def f(): pass\ndef get_config(): return dict(a=dict(name=f))", ValueError,
         "config.a.name: configs hold names, not functions; write 'mine:f'"),
        ("import numpy as np\ndef get_config(): return dict(a=(np.ones(2),))", ValueError,
         "config.a: configs hold text, numbers, None .* not ndarray"),
        ("import nowhere_at_all", ModuleNotFoundError, "nowhere_at_all"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused(tmp_path, text, error, message):
    write(tmp_path, mine=text)
    with pytest.raises(error, match=message):
        load_config(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere_at_all:f", "model.name='nowhere_at_all:f': there is no module 'nowhere_at_all' on Python's path"),
        ("os.nowhere:f", "there is no module 'os.nowhere'"),
        ("os:nowhere", r"in .*os.py, 'nowhere' is unknown; .*"),
        ("os:sep", "'sep' is unknown"),
        ("__main__:f", "put f into a file"),
        ("os:", "write 'package.module:name'"),
        ("os:a.b", "write 'package.module:name'"),
        ("os:sep ", "write 'package.module:name'"),
        (".os:sep", "write 'package.module:name'"),
        (":sep", "write 'package.module:name'"),
        (3, "model.name=3: configs hold names"),
        ("TSMM", "'TSMM' is unknown; did you mean 'TSM'.*or write 'package.module:name'"),
    ],
)
def test_names_that_name_nothing(name, message):
    with pytest.raises(ValueError, match=message):
        find({"TSM": len}, name, "model.name")


def test_an_error_inside_a_module_is_not_hidden(tmp_path, monkeypatch):
    write(tmp_path, mine="import nowhere_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        find({}, "mine:f", "model.name")
    assert own_code.FOLDER == "code"


def test_what_was_added_to_a_copy_does_not_run(folder, tmp_path):
    """Compiled files, links and packages that would come before the files; a file that was changed is written again."""
    config, file = load_config(str(folder / "mine.py"))
    code = of_config(file, config)
    code.save(tmp_path / "run")
    code.remember()
    copy = tmp_path / "run" / "code" / code.digest
    (copy / "near").mkdir()
    (copy / "near" / "__init__.pyc").write_bytes(b"junk")
    (copy / "near.cpython-311-x86_64-linux-gnu.so").write_bytes(b"junk")
    write(tmp_path / "elsewhere", __init__="raise RuntimeError('imported')")
    (copy / "unused").symlink_to(tmp_path / "elsewhere")
    found = of_workdir(tmp_path / "run", config.to_dict() | {"code": code.digest})
    assert found.files == code.files and found.trusted
    with ActiveCode(found.files).turn():
        assert find({}, "near:crop", "view.name")() == "near"
    (copy / "near.py").write_text("changed = True")
    code.save(tmp_path / "run")
    assert of_workdir(tmp_path / "run", config.to_dict() | {"code": code.digest}).files == code.files


def test_the_code_of_one_config_does_not_reach_the_next(folder, tmp_path, monkeypatch):
    config, file = load_config(str(folder / "mine.py"))
    first = ActiveCode(of_config(file, config).files)
    other = write(
        tmp_path / "other", lone="try:\n    import near\nexcept ImportError:\n    near = None\ndef f(): return near"
    )
    second = ActiveCode({"lone.py": (other / "lone.py").read_bytes()})
    with first.turn():
        assert find({}, "near:crop", "view.name")() == "near"
        with second.turn():
            assert find({}, "lone:f", "x.name")() is None and "near" not in sys.modules
        assert find({}, "near:crop", "view.name")() == "near"
    # The session's own modules are there again, as they were.
    monkeypatch.syspath_prepend(str(write(tmp_path / "session", near="name = 'session'")))
    near = importlib.import_module("near")
    path = sys.path[:]
    with first.turn():
        assert importlib.import_module("near") is not near
    assert importlib.reload(near) is near and near.name == "session" and sys.path == path


def test_two_configs_take_turns(tmp_path):
    """Each imports its own files, also late, and keeps the modules that it has imported."""
    codes = {}
    for name in ("one", "two"):
        folder = write(tmp_path / name, near="def f():\n    import late\n    return late.name", late=f"name = {name!r}")
        code = ActiveCode({f"{module}.py": (folder / f"{module}.py").read_bytes() for module in ("near", "late")})
        with code.turn():
            codes[name] = code, find({}, "near:f", "x.name")
    for name in ("one", "two", "one"):
        code, function = codes[name]
        with code.turn():
            assert function() == name and find({}, "near:f", "x.name") is function


def test_turns_wait_for_other_threads(tmp_path):
    codes = {name: ActiveCode({"near.py": f"name = {name!r}".encode()}) for name in ("one", "two")}
    wrong = []

    def work(name: str) -> None:
        for _ in range(50):
            with codes[name].turn():
                if importlib.import_module("near").name != name:
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in codes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong and "near" not in sys.modules


def test_the_private_copy_goes_with_the_object():
    code = ActiveCode({"near.py": b""})
    with code.turn():
        folder = pathlib.Path(sys.path[0])
    assert (folder / "near.py").exists()
    del code
    gc.collect()
    assert not folder.exists()


def test_typed_files_do_not_take_the_place_of_the_runs(tmp_path):
    run = OwnCode(tmp_path / "run", {"near.py": b"name = 1", "far.py": b""}, ("near:f",))
    typed = OwnCode(tmp_path / "here", {"near.py": b"name = 2"}, ("near:g",))
    with pytest.raises(ValueError, match="here/near.py differs from the file of the same name in RUN; rename yours"):
        allowed(run, "RUN", trust=True, typed=typed).__enter__()
    same = typed._replace(files={"near.py": b"name = 1", "more.py": b""})
    with allowed(run, "RUN", trust=True, typed=same):
        assert importlib.import_module("near").name == 1 and importlib.import_module("more")


def test_copies_in_a_workdir_inside_of_a_package_are_no_part_of_it(folder):
    write(folder, pack__runs__x__code__0123456789abcdef__nets="x = 1", pack__code__deep="")
    config, file = load_config(str(folder / "mine.py"))
    files = of_config(file, config).files
    assert "pack/code/deep.py" in files and not any("0123456789abcdef" in name for name in files)


def test_a_copy_that_is_a_link_is_refused(folder, tmp_path):
    (tmp_path / "run" / "code").mkdir(parents=True)
    (tmp_path / "run" / "code" / "0123456789abcdef").symlink_to(folder)
    with pytest.raises(ValueError, match="0123456789abcdef is a symbolic link"):
        of_workdir(tmp_path / "run", {"model": {"name": "near:f"}, "code": "0123456789abcdef"})


def test_a_file_that_python_cannot_read_fails_only_where_it_is_imported(folder):
    (folder / "pack" / "old.py").write_text("print 'python 2'")
    config, file = load_config(str(folder / "mine.py"))
    code = of_config(file, config)
    assert "pack/old.py" in code.files
    with ActiveCode(code.files).turn():
        assert find({}, "pack.nets:Net", "model.name").__name__ == "Net"


def test_a_package_comes_whole(folder):
    """It may import modules by text."""
    (folder / "pack" / "hidden.py").write_text("def f(): return 1")
    config, file = load_config(str(folder / "mine.py"))
    assert "pack/hidden.py" in of_config(file, config).files and "unused.py" not in of_config(file, config).files


@pytest.mark.parametrize(
    "name", ["evil:Net ", "evil:a.b", "evil:x-y", "evil:", "\u00e9vil:Net", "evil:a:b", "evil:Net"]
)
def test_no_spelling_of_a_name_escapes_the_question(tmp_path, monkeypatch, name):
    write(tmp_path, evil="raise RuntimeError('imported')")
    write(tmp_path, **{"\u00e9vil": "raise RuntimeError('imported')"})
    monkeypatch.syspath_prepend(str(tmp_path))
    code = of_workdir(tmp_path, {"model": {"name": name}})
    with allowed(code, "RUN", trust=False), pytest.raises(ValueError, match="--trust_code|write 'package.module:name'"):
        find({}, name, "model.name")
    with allowed(None, "RUN", trust=False), pytest.raises(ValueError):
        find({}, "evil:Net", "model.name")
    with allowed(None, "RUN", trust=False, typed=OwnCode(tmp_path, {}, ("os:getpid",))):
        assert find({}, "os:getpid", "model.name")
