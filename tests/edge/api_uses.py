"""Finds every use of TensorRT's and pycuda's objects in edge/ and engines/, by reading the code.

What an expression is follows from annotations, from what the real functions return, and else from its name
(api_names.NAMES, a leading underscore aside). In a module that has to do with either library, a receiver that cannot
be told apart is an error: no use escapes. hasattr(x, "literal") narrows the generations in which code runs, through
if, conditional expressions, `and`, `or`, `not`, early returns, names that hold such a test, and functions that are
only named there.
"""

import ast
import os

from api_compare import member_of
from api_names import FUNCTIONS, MARKS, OTHER, ROOT, UNKNOWN, annotated, module_of
from api_walk import Module


class Scan:
    """The uses in some files. apis: {library: {generation: api}}."""

    def __init__(self, apis, files=None):
        self.apis = apis
        self.every = {library: frozenset(generations) for library, generations in apis.items()}
        self.uses, self.problems = [], []
        self._trees = {}
        for path in files or source_files():
            with open(path, encoding="utf-8") as file:
                self._trees[path] = ast.parse(file.read(), path)
        self.returns = {}  # functions of ours: what they return, by (module, name), and by name alone for methods
        self.fields = {}  # annotated attributes of ours by name: OTHER, or UNKNOWN where one of that name is Any
        self.methods = set()
        for path, tree in self._trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    names = [inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)]
                    self.methods.update(names + [(module_of(path), name) for name in names])
                if isinstance(node, ast.FunctionDef):
                    returns = annotated(node.returns, node.name)
                    if returns != OTHER:
                        returns = FUNCTIONS.get(node.name, returns)
                    self.returns[module_of(path), node.name] = returns
                    known = self.returns.get(node.name, returns)
                    self.returns[node.name] = returns if returns == known else UNKNOWN
                elif isinstance(node, ast.AnnAssign):
                    name = getattr(node.target, "attr", getattr(node.target, "id", ""))
                    for key in ((module_of(path), name), name):
                        known = self.fields.get(key, OTHER)
                        self.fields[key] = OTHER if annotated(node.annotation, "?") == known == OTHER else UNKNOWN
        self.modules = {module_of(path) for path in self._trees}
        self.read = [path for path, tree in self._trees.items() if _marked(tree)]
        self.reach = {}  # generations in which a function or class of ours is named, by its name
        self.theirs = self._names_of_theirs()
        self.attributes = {}  # those of ours that are set in what is read, by name
        for _ in range(10):  # narrows until nothing changes
            self.uses, self.problems, self.seen = [], [], {}
            for path in self.read:
                Module(self, path, self._trees[path]).walk()
            reach = {name: found for name, found in self.seen.items() if found != self._all()}
            if reach == self.reach:
                break
            self.reach = reach
        self._find_strays()

    def _all(self):
        return tuple(sorted((library, generations) for library, generations in self.every.items()))

    def missing(self):
        """A line for each use that fails somewhere it can get to."""
        found = []
        for use in self.uses:
            generations = sorted(use.generations)
            has = [g for g in generations if member_of(self.apis[use.library][g], use.owner, use.member) is not None]
            what = "{}:{}: {} {}.{}".format(use.file, use.line, use.library, use.owner, use.member)
            if use.kind == "ask":
                known = [g for g in self.every[use.library]
                         if member_of(self.apis[use.library][g], use.owner, use.member)]
                if not known:
                    found.append(what + ": is asked for, but no generation has it")
            elif len(has) < len(generations):
                found.append("{}: not in {}".format(what, ", ".join(sorted(set(generations) - set(has)))))
        return found

    def _names_of_theirs(self):
        """Names that only these libraries have, by their look."""
        names = set()
        for generations in self.apis.values():
            for api in generations.values():
                for entry in api["classes"].values():
                    names.update(n for n in entry["members"] if "_" in n.strip("_") and len(n) > 12)
        return names - set(self.returns) - set(self.fields)

    def _find_strays(self):
        """Their names in modules that were not read."""
        for path, tree in self._trees.items():
            if path in self.read:
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and node.attr in self.theirs:
                    self.problems.append("{}:{}: .{} is TensorRT's or pycuda's, in a module that names neither".format(
                        os.path.relpath(path, ROOT), node.lineno, node.attr))


def source_files():
    """The Python files of edge/ and engines/."""
    found = []
    for top in ("edge", "engines"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            found += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    return sorted(found)


def _marked(tree):
    for node in ast.walk(tree):
        names = [node.id] if isinstance(node, ast.Name) else [node.arg] if isinstance(node, ast.arg) else (
            [node.attr] if isinstance(node, ast.Attribute) else [])
        if isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        if isinstance(node, ast.ImportFrom):
            names = (node.module or "").split(".") if (node.module or "").startswith(("tensorrt", "pycuda")) else []
        if any(name.strip("_") in MARKS for name in names):
            return True
    return False
