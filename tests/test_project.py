"""What holds for the whole package: dependencies, layers, commands, and the README of them."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wristmir_jax"
README = (ROOT / "README.md").read_text()

# Data flows one way: a package imports itself and those before it, never a later one.
PACKAGES = (
    "reports",
    "images",
    "data",
    "models",
    "learning",
    "localizing",
    "retrieval",
    "benchmark",
)
# The record's format is the contract between the stages, as the anatomy is.
FOUNDATION = frozenset({"data.record"})


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax tree of every module, by its name inside the package (`data.record`)."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(
            ".__init__"
        ): ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def commands() -> tuple[str, ...]:
    return tuple(
        name
        for name, tree in modules().items()
        if "." not in name and "__name__ == '__main__'" in ast.unparse(tree)
    )


def imported(tree: ast.AST) -> set[str]:
    """Dotted names that are imported; of `from a import b` both `a` and `a.b`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import, line {node.lineno}"
            assert node.module is not None
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_at_once(tree: ast.Module) -> set[str]:
    """As `imported`, without what functions import when they are called."""
    trimmed = ast.parse(ast.unparse(tree))
    for node in ast.walk(trimmed):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [ast.Pass()]
    return imported(trimmed)


def own(names: set[str]) -> set[str]:
    """Of dotted names those of modules of this package, without `wristmir_jax.`."""
    inside = {name.removeprefix("wristmir_jax.") for name in names if "wristmir_jax." in name}
    return inside & modules().keys()


def layer(name: str) -> int:
    if name in commands():
        return len(PACKAGES) + 2
    package, dot, _ = name.partition(".")
    if name in FOUNDATION or (not dot and package not in PACKAGES):
        return 0
    return 1 + PACKAGES.index(package)


def test_no_stage_reaches_into_a_later_one():
    # `from wristmir_jax.data import record` names the package too, which holds nothing itself.
    back = [
        f"{name} imports {target}"
        for name, tree in modules().items()
        for target in sorted(own(imported(tree)))
        if target not in PACKAGES and layer(target) > layer(name)
    ]
    assert back == []


def test_only_commands_know_of_the_command_line():
    library = modules().keys() - {*commands(), "cli"}
    parsers = ("wristmir_jax.cli", "absl.flags", "absl.app", "argparse")
    assert [n for n in sorted(library) if imported(modules()[n]) & {*parsers}] == []


def requirements(entries: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=!~; ]", entry, maxsplit=1)[0]) for entry in entries}


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@cache
def distributions() -> dict[str, set[str]]:
    return {
        name: {normal(distribution) for distribution in owners}
        for name, owners in importlib.metadata.packages_distributions().items()
    }


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = requirements(project["dependencies"])
    optional = required.union(*map(requirements, project["optional-dependencies"].values()))

    def undeclared(names: set[str], allowed: set[str]) -> set[str]:
        tops = {n.partition(".")[0] for n in names} - sys.stdlib_module_names - {"wristmir_jax"}
        return {top for top in tops if not distributions().get(top, {normal(top)}) & allowed}

    trees = modules().values()
    assert set().union(*(undeclared(imported_at_once(tree), required) for tree in trees)) == set()
    # What only an extra brings may be imported by the function that needs it.
    assert set().union(*(undeclared(imported(tree), optional) for tree in trees)) == set()


def test_nothing_is_pickled():
    picklers = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for name, tree in modules().items():
        assert not {n.partition(".")[0] for n in imported(tree)} & picklers, name
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                safe = node.arg == "weights_only"
                assert isinstance(node.value, ast.Constant), f"{name}:{node.value.lineno}"
                assert node.value.value is safe, f"{name}:{node.value.lineno}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("read_pickle", "to_pickle"), f"{name}:{node.lineno}"


IMPORT_EVERYTHING = """
import importlib, socket, sys
for name in sys.argv[1:]:
    importlib.import_module(f"wristmir_jax.{name}" if name != "__init__" else "wristmir_jax")
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
assert "torch" not in sys.modules, "PyTorch was imported"

# Possible only as long as no import has touched a device.
import jax
with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
jax.distributed.initialize(f"localhost:{port}", num_processes=1, process_id=0)
jax.distributed.shutdown()
"""


def test_importing_touches_neither_tensorflow_nor_a_device():
    names = [name for name in modules() if name not in commands()]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def flags_of(command: str) -> set[str]:
    return {
        str(node.args[0].value)
        for node in ast.walk(modules()[command])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("DEFINE_")
        and isinstance(node.args[0], ast.Constant)
    }


@pytest.mark.parametrize("command", commands())
def test_a_command_explains_itself(command):
    docstring = ast.get_docstring(modules()[command])
    assert docstring
    done = subprocess.run(
        [sys.executable, "-m", f"wristmir_jax.{command}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert docstring.splitlines()[0] in done.stdout
    shown = set(re.findall(r"^ +-(?:-\[no\]|-)?(\w+)", done.stdout, re.MULTILINE))
    assert flags_of(command) <= shown


def readme_commands() -> list[tuple[str, list[str]]]:
    """Every `python -m wristmir_jax.<command>` of the README with its flags."""
    text = README.replace("\\\n", " ")
    return [
        (command, re.findall(r"--([a-z_]+)", rest))
        for command, rest in re.findall(r"python -m wristmir_jax\.(\w+)([^\n`]*)", text)
    ]


def test_the_readme_shows_every_command():
    assert {command for command, _ in readme_commands()} == set(commands())


@pytest.mark.parametrize(("command", "flags"), readme_commands())
def test_the_readme_shows_commands_that_exist(command, flags):
    assert command in commands()
    assert set(flags) <= flags_of(command)


def test_the_readme_points_to_files_that_exist():
    named = set(re.findall(r"\]\(([^)#:]+)\)", README))
    named |= set(re.findall(r"\b(?:tools|configs)/[\w/]+\.\w+", README))
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_one_version_everywhere():
    import wristmir_jax

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {project['version']}\n" in citation
    assert wristmir_jax.__version__ == project["version"]
