"""Reference pages: the directive ``area``, what autodoc leaves out, and formulas that need no script."""

import inspect
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

import arithprobe

_PACKAGE = "arithprobe"
_KEPT = ("forward",)  # of what overrides a method of another library
_HOOKS_OF = "ValidationProbe"  # whose page says what they are for


class Area(SphinxDirective):
    """``.. area:: arithprobe.probes``: the public names of some packages or modules, then a section for each module."""

    required_arguments = 1
    optional_arguments = 30

    def run(self) -> list[nodes.Node]:
        """The sections."""
        modules = [module for argument in self.arguments for module in modules_of(argument)]
        public = {name: found for name, found in public_names().items() if found.__module__ in modules}
        lines = [*_section("Public names"), "Import them from ``arithprobe``.", ""] if public else []
        for name, found in public.items():
            kind, options = ("class", ["   :members:", ""]) if inspect.isclass(found) else ("function", [""])
            lines += [*_section(name, "~"), f".. auto{kind}:: {_PACKAGE}.{name}", *options]
        for module in modules:
            about = (inspect.getdoc(import_module(module)) or "").partition("\n")[0].replace("``", "")
            lines += [*_section(module), *_raw(f"<details><summary>{escape(about)}</summary>")]
            lines += [f".. automodule:: {module}", "   :members:", "", *_raw("</details>")]
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, source=self.get_source_info()[0]), node)
        return node.children


def _raw(html: str) -> list[str]:
    """HTML as it is. Modules are folded, so that public names are in sight; a search or a link opens them."""
    return [".. raw:: html", "", f"   {html}", ""]


def _section(title: str, underline: str = "-") -> list[str]:
    return [title, underline * len(title), ""]


@cache
def public_names() -> dict[str, Any]:
    """The classes and functions that ``arithprobe.__all__`` names; its constants stand in their modules."""
    every = {name: getattr(arithprobe, name) for name in arithprobe.__all__}
    return {name: found for name, found in every.items() if hasattr(found, "__module__")}


def modules_of(name: str) -> Iterator[str]:
    """The public modules of a package and of the packages in it, or a module's own name."""
    folders = getattr(import_module(name), "__path__", None)
    every = () if folders is None else pkgutil.walk_packages(folders, f"{name}.")
    found = [module.name for module in every if not module.ispkg]
    return (module for module in found or [name] if not module.rpartition(".")[2].startswith("_"))


def leave_out(app: Sphinx, what: str, name: str, found: object, skip: bool, options: object) -> bool | None:
    """Leave out what stands above, what is imported from elsewhere, and methods that fill in those of other classes."""
    if what == "module" and any(found is one for one in public_names().values()):
        return True
    function = inspect.unwrap(found.fget if isinstance(found, property) and found.fget else found)  # type: ignore[arg-type]
    if not inspect.isfunction(function):
        return None
    if not function.__module__.startswith(_PACKAGE):
        return True
    owner: Any = sys.modules[function.__module__]
    for part in function.__qualname__.split(".")[:-1]:
        owner = getattr(owner, part, None)
    bases = owner.__mro__[1:-1] if inspect.isclass(owner) and name not in _KEPT else ()
    filled = (base for base in bases if name in vars(base))
    return True if any(not _is_ours(base) or base.__name__ == _HOOKS_OF for base in filled) else None


def _is_ours(base: type) -> bool:
    return base.__module__.startswith(_PACKAGE)


def keep_colons(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """A field's docstring begins with no type: without this, napoleon takes what stands before a colon for one."""
    if what in ("attribute", "data", "property"):
        lines.insert(0, "\\ ")  # a line without a colon, of which nothing is seen


def leave_out_lines(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """What is said already: the first line of a module, which folds it, and what Python says of every named tuple."""
    if what == "module" and not lines[0].startswith(".. "):
        del lines[:1]
    lines[:] = [line for line in lines if not line.startswith("Create new instance of ")]


def by_home(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """Resolve a reference to a public name by the module it is defined in."""
    target = node.get("reftarget", "")
    for name, found in public_names().items():
        home = f"{found.__module__}.{found.__qualname__}"
        if target == home or target.startswith(f"{home}."):
            public = f"{_PACKAGE}.{name}{target.removeprefix(home)}"
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], public, node, content)
    return None


def write_inline(writer: Any, node: nodes.math) -> None:
    """A formula as MathML, which browsers draw by themselves; the usual renderer is a script from another server."""
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_block(writer: Any, node: nodes.math_block) -> None:
    """The same, on lines of its own."""
    writer.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it."""
    app.add_directive("area", Area)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-docstring", keep_colons, priority=100)
    app.connect("autodoc-process-docstring", leave_out_lines)
    app.connect("missing-reference", by_home)
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
