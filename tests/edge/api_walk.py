"""Walks the statements of one module, for api_uses."""

import ast
import os

from api_expressions import Expressions
from api_names import (
    CUDA,
    NAMES,
    OF_CUDA,
    OTHER,
    ROOT,
    TRT,
    UNKNOWN,
    annotated,
    element,
    ends,
    is_hasattr,
    literal,
    module_of,
)


class Module(Expressions):
    """Walks one module."""

    def __init__(self, scan, path, tree):
        self.scan, self.path, self.module, self.tree = scan, os.path.relpath(path, ROOT), module_of(path), tree
        self.names = dict(NAMES)
        words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if not words & {"trt", "tensorrt"}:
            self.names.update(OF_CUDA)
        self.attributes, self.tests = scan.attributes, {}  # the tests: names that hold a hasattr: (if true, if false)
        self.scopes = [{}]
        self.generations = dict(scan.every)

    def walk(self):
        """Fill scan's uses, problems and seen."""
        uses, problems = len(self.scan.uses), len(self.scan.problems)
        for _ in range(3):  # attributes and tests may be set below where they are used
            del self.scan.uses[uses:], self.scan.problems[problems:]
            self.scopes = [{node.name: self._defined(node) for node in self.tree.body
                            if isinstance(node, (ast.FunctionDef, ast.ClassDef))}]
            self._statements(self.tree.body)

    # ------------------------------------------------------------ statements

    def _statements(self, body):
        before = dict(self.generations)
        for node in body:
            self._statement(node)
        self.generations = before

    def _statement(self, node):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            self._definition(node)
        elif isinstance(node, ast.If):
            true, false = self._test(node.test)
            self._under(true, lambda: self._statements(node.body))
            self._under(false, lambda: self._statements(node.orelse))
            if ends(node.body):
                self._narrow(false)
            if node.orelse and ends(node.orelse):
                self._narrow(true)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            self._assignment(node)
        elif isinstance(node, ast.For):
            self._bind(node.target, element(self.type_of(node.iter)))
            self._statements(node.body)
            self._statements(node.orelse)
        elif isinstance(node, ast.With):
            for item in node.items:
                kind = self.type_of(item.context_expr)
                if item.optional_vars is not None:
                    self._bind(item.optional_vars, kind)
            for inner in node.body:
                self._statement(inner)
        elif isinstance(node, ast.Try):
            for inner in node.body:
                self._statement(inner)
            for handler in node.handlers:
                if handler.type is not None:
                    self.type_of(handler.type)
                self.scopes[-1][handler.name or ""] = OTHER
                self._statements(handler.body)
            self._statements(node.orelse)
            self._statements(node.finalbody)
        elif isinstance(node, ast.While):
            self._test(node.test)
            self._statements(node.body)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node)
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr):
                    self.type_of(child)

    def _definition(self, node):
        for decorator in node.decorator_list:
            self.type_of(decorator)
        self.scopes[-1][node.name] = self._defined(node)
        bases = [self.type_of(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
        before, scopes = dict(self.generations), self.scopes
        reach = dict(self.scan.reach.get(node.name, ()))
        self.generations = {library: found & reach.get(library, found) for library, found in before.items()}
        scope = {}
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.args + node.args.kwonlyargs + [a for a in (node.args.vararg, node.args.kwarg) if a]
            for number, argument in enumerate(arguments):
                scope[argument.arg] = self._of_argument(argument, number)
            for default in node.args.defaults + [d for d in node.args.kw_defaults if d]:
                self.type_of(default)
            test = self._returned_test(node)
            if test is not None:
                self.tests[node.name] = test
        self.scopes = [*scopes, scope]
        for base in bases:
            if base[0] in self.scan.apis:
                self._overrides(node, base)
        self._statements(node.body)
        self.scopes, self.generations = scopes, before

    def _defined(self, node):
        return ("ours", (self.module, node.name)) if isinstance(node, ast.FunctionDef) else OTHER

    def _of_argument(self, argument, number):
        if argument.arg in ("self", "cls") and number == 0:
            return OTHER
        if argument.annotation is not None and annotated(argument.annotation, "?") == OTHER:
            return OTHER
        return self._by_name(argument.arg)

    def _returned_test(self, node):
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and literal(s.value) is not None)]
        if len(body) == 1 and isinstance(body[0], ast.Return) and is_hasattr(body[0].value):
            return self._test(body[0].value)
        return None

    def _overrides(self, node, base):
        """Methods of a class of ours that is derived from one of theirs."""
        library, owner = base[0], base[1].replace("class ", "")
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                self._use(method, library, owner, method.name, "call",
                          [None] * (len(method.args.args) - 1), {})

    def _import(self, node):
        for alias in node.names:
            name = (alias.asname or alias.name).split(".")[0]
            top = (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
            library = {"tensorrt": TRT, "pycuda": CUDA}.get(top)
            if library == TRT and isinstance(node, ast.Import):
                self.scopes[-1][name] = (TRT, "")
            elif library == CUDA and isinstance(node, ast.Import):
                self.scopes[-1][name] = (CUDA, "") if alias.asname else ("package", "")
            elif library is not None:
                self._problem(node, "import the module, and use its names through it")
            else:
                self.scopes[-1][name] = self._imported(node, alias)

    def _imported(self, node, alias):
        """A module or function of ours, or something else."""
        if isinstance(node, ast.Import):
            return OTHER
        if (node.module, alias.name) in self.scan.returns:
            return ("ours", (node.module, alias.name))
        inner = "{}.{}".format(node.module, alias.name)
        return ("our module", inner) if inner in self.scan.modules else OTHER

    def _assignment(self, node):
        if isinstance(node, ast.AugAssign):
            self.type_of(node.value)
            self._store(node.target, self.type_of(node.target))
            return
        kind = self.type_of(node.value) if node.value is not None else UNKNOWN
        if isinstance(node, ast.AnnAssign):
            name = getattr(node.target, "attr", getattr(node.target, "id", "?"))
            said = annotated(node.annotation, name, self.names)
            kind = said if said != UNKNOWN or kind[0] not in self.scan.apis else kind
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            values = getattr(node.value, "elts", None)
            if isinstance(target, ast.Tuple) and values and len(values) == len(target.elts):
                for inner, value in zip(target.elts, values):
                    self._store(inner, self.type_of(value, False))
                    self._remember_test(inner, value)
            else:
                self._store(target, kind)
                self._remember_test(target, node.value)

    def _remember_test(self, target, value):
        name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", None)
        if name and value is not None and is_hasattr(value):
            self.tests[name] = self._test(value, False)
        elif name in self.tests:
            del self.tests[name]

    def _store(self, target, kind):
        if isinstance(target, ast.Name):
            named = self._by_name(target.id)
            if kind[0] == "empty":
                kind = named if named != UNKNOWN else OTHER
            self.scopes[-1][target.id] = kind if kind != UNKNOWN else named
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._bind(target, kind)
        elif isinstance(target, ast.Attribute):
            owner = self.type_of(target.value)
            if owner[0] in self.scan.apis:
                self._use(target, owner[0], owner[1], target.attr, "set")
            elif owner == UNKNOWN:
                self._unknown(target)
            elif isinstance(target.value, ast.Name) and target.value.id == "self":
                for key in ((self.module, target.attr), target.attr):
                    if self.attributes.get(key) in (None, OTHER) or kind[0] in self.scan.apis:
                        self.attributes[key] = OTHER if kind[0] == "empty" else kind
        else:
            self.type_of(target)

    def _bind(self, target, kind):
        if isinstance(target, (ast.Tuple, ast.List)):
            for inner in target.elts:
                self._bind(inner, OTHER if kind == OTHER else UNKNOWN)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, kind)
        else:
            self._store(target, kind)
