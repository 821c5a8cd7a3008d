"""Import a person's flow module and take the app out of it, with errors that point into their file."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from dsl import App
from dsl.errors import nearest
from flows.errors import DeclarationError, FlowsError, UsageError

_OWN_ROOMS = (str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "dsl"))
_NOT_THEIRS = ("<frozen", *(p for p in sysconfig.get_paths().values() if p != sysconfig.get_path("data")), *_OWN_ROOMS)


class ModuleFailed(FlowsError):
    """A flow module raised while it was imported; `__cause__` is what it raised."""


def import_name(name: str, folder: Path) -> ModuleType:
    """Import a dotted module, found in `folder` first. Raises `UsageError` when there is none, `ModuleFailed`."""
    _look_in(folder)
    try:
        return _run(name, lambda: importlib.import_module(name))
    except ModuleFailed as error:
        missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if missing is None or not (name == missing or name.startswith(missing + ".")):
            raise
        close = nearest(name, [m.name for m in pkgutil.iter_modules([str(folder)])])
        fix = f"did you mean -A {close}?" if close else "name a module or a file: -A path/to/flow.py"
        raise UsageError(f"there is no module {name!r} in {folder} or in the environment", fix=fix) from error.__cause__


def import_file(path: Path) -> ModuleType:
    """Import a file: as part of its package where it is in one, else by its name, with its folder importable."""
    path = path.resolve()
    parts = [path.parent.name] if path.stem == "__init__" else [path.stem]
    root = path.parent.parent if path.stem == "__init__" else path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    _look_in(root)
    name = ".".join(parts)
    if (loaded := sys.modules.get(name)) is not None and _file_of(loaded) == path:
        return loaded
    if len(parts) > 1 or _found_at(name) == path:
        return _run(str(path), lambda: importlib.import_module(name))
    return _run(str(path), lambda: _import_as(f"_flow_module_{name}", path))


def app_in(module: ModuleType, attribute: str | None) -> App:
    """Return a module's app: the named one, the only one, or that called `app`. Raises `UsageError`."""
    where = _file_of(module) or module.__name__
    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if attribute:
        return _attribute(module, attribute, apps, where)
    if len({id(a) for a in apps.values()}) == 1:
        return next(iter(apps.values()))
    if "app" in apps:
        return apps["app"]
    if apps:
        raise UsageError(f"{where} has several apps: {', '.join(apps)}", fix=f"choose one: -A …:{next(iter(apps))}")
    raise UsageError(f"{where} has no app", fix='make one: app = flows.App("name")')


def _attribute(module: ModuleType, attribute: str, apps: dict[str, App], where: object) -> App:
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, App):
        return found
    what = "has no" if found is None else f"{type(found).__name__}, not a flows.App, is its"
    close = nearest(attribute, apps) or next(iter(apps), None)
    fix = f"did you mean {close!r}?" if close else 'make one: app = flows.App("name")'
    raise UsageError(f"{where} {what} {attribute!r}", fix=fix)


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _found_at(name: str) -> Path | None:
    """Return the file that this name would be imported from: another one where the name is taken."""
    if name in sys.modules:
        return _file_of(sys.modules[name])
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None


def _import_as(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _run(what: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except (FlowsError, DeclarationError):
        raise
    except SystemExit as error:
        raise ModuleFailed(
            f"{what} ended the program while it was imported", fix='start things under if __name__ == "__main__":'
        ) from error
    except Exception as error:
        raise ModuleFailed(f"{what} cannot be imported: {_tail(error)}", fix="--debug shows the traceback") from error


def _tail(error: Exception) -> str:
    """Say what was raised and by which line outside of the import machinery, in one line."""
    said = " ".join("".join(traceback.format_exception_only(error)[-1:]).split())
    if isinstance(error, SyntaxError):
        return f"{said} ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    last = ([f for f in frames if not f.filename.startswith(_NOT_THEIRS)] or frames)[-1]
    return f"{said} ({last.filename}:{last.lineno}: {last.line})"
