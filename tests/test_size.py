"""The size of the house, and that a default is written once: a reader has to keep little in mind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "tiepoint"
MAX_LINES = 28_490  # 25,467 before windows were described densely, 320 for names, 320 for nothing lost, 520 for checks
MAX_PARAMETERS, MAX_LONGER = 10, 3
Function = ast.FunctionDef | ast.AsyncFunctionDef


def trees() -> dict[str, ast.Module]:
    """Path from the repository: syntax tree."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(p.relative_to(PACKAGE.parent)): ast.parse(p.read_text(encoding="utf-8")) for p in paths}


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parameters(function: Function) -> list[tuple[str, ast.expr | None]]:
    """Names and defaults, without *args and **kwargs."""
    arguments = function.args
    by_place = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(by_place) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    return [(a.arg, d) for a, d in zip([*by_place, *arguments.kwonlyargs], defaults, strict=True)]


def fields(tree: ast.Module) -> Iterator[tuple[str, str, ast.expr]]:
    """Class, name and default of what a class body annotates and sets, as a dataclass does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value is not None:
                    yield node.name, line.target.id, line.value


def test_the_package_stays_small() -> None:
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")) <= MAX_LINES


def test_few_functions_have_more_than_ten_parameters() -> None:
    long = [
        f"{path}: {function.name} has {len(parameters(function))}"
        for path, tree in trees().items()
        for function in functions(tree)
        if len(parameters(function)) > MAX_PARAMETERS
    ]
    assert len(long) <= MAX_LONGER, "\n".join(long)


def test_register_is_short() -> None:
    tree = trees()["tiepoint/registration/register.py"]
    register = next(function for function in functions(tree) if function.name == "register")
    assert register.args.kwarg is not None
    assert len(parameters(register)) <= 8
    assert register.end_lineno is not None
    first = register.body[1] if ast.get_docstring(register) else register.body[0]
    assert register.end_lineno - first.lineno + 1 <= 45


def test_a_default_of_an_option_is_written_once() -> None:
    """No signature and no other dataclass gives an option of options.py the value that stands there.

    None, False and 0 are no such values: they say that nothing was given or that something is switched off. A call or
    an attribute, as `Matching()` or `Matching.ratio`, refers to the options.
    """
    everything = trees()
    written = [(n, v) for _, n, v in fields(everything["tiepoint/options.py"]) if isinstance(v, ast.Constant)]
    options = {(name, ast.dump(value)) for name, value in written if value.value}
    assert options
    again = []
    for path, tree in everything.items():
        found = [(function.name, name, value) for function in functions(tree) for name, value in parameters(function)]
        if path != "tiepoint/options.py":
            found += fields(tree)
        again += [
            f"{path}: {owner} sets {name} = {ast.unparse(value)}"
            for owner, name, value in found
            if value is not None and (name, ast.dump(value)) in options
        ]
    assert not again, "\n".join(again)
