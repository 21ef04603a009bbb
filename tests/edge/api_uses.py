"""Finds every use of TensorRT's and pycuda's objects in edge/ and engines/, by reading the code.

What an expression is follows from annotations, from what the real functions return, and else from its name (NAMES, a
leading underscore aside). In a module that has to do with either library, a receiver that cannot be told apart is an
error: no use escapes. hasattr(x, "literal") narrows the generations in which code runs, through if, conditional
expressions, `and`, `or`, `not`, early returns, names that hold such a test, and functions that are only named there.
"""

import ast
import builtins
import os
from collections import namedtuple

from api_compare import is_enum, member_of

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRT, CUDA = "tensorrt", "pycuda"
NAMES = {"trt": (TRT, ""), "tensorrt": (TRT, ""), "logger": (TRT, "ILogger"), "builder": (TRT, "Builder"),
         "config": (TRT, "IBuilderConfig"), "network": (TRT, "INetworkDefinition"), "parser": (TRT, "OnnxParser"),
         "parse_error": (TRT, "ParserError"), "runtime": (TRT, "Runtime"), "engine": (TRT, "ICudaEngine"),
         "context": (TRT, "IExecutionContext"), "inspector": (TRT, "EngineInspector"), "tensor": (TRT, "ITensor"),
         "timing_cache": (TRT, "ITimingCache"), "serialized": (TRT, "IHostMemory"), "layer": (TRT, "ILayer"),
         "driver": (CUDA, ""), "device": (CUDA, "Device"), "driver_device": (CUDA, "Device"),
         "stream": (CUDA, "Stream"), "allocation": (CUDA, "DeviceAllocation"), "event": (CUDA, "Event"),
         "owner": (CUDA, "PagelockedHostAllocation"), "base": (CUDA, "PagelockedHostAllocation"),
         "primary": (CUDA, "Context"), "module": (CUDA, "Module"), "function": (CUDA, "Function"),
         "frame": ("other", "")}  # a Buffer of ours
OF_CUDA = {"context": (CUDA, "Context")}  # in modules that have to do with pycuda and not with TensorRT
MARKS = ("trt", "tensorrt", "pycuda", "driver")  # a module with one of these names in it is read
FUNCTIONS = {"module": (TRT, ""), "gpu": (CUDA, "Device")}  # of ours, which return them as Any
OTHER, UNKNOWN = ("other", ""), ("unknown", "")  # no object of either library; cannot be told
PLAIN = ("int", "str", "bool", "float", "bytes", "None", "tuple", "list", "dict", "object", "Tuple", "List")

# kind: get, set, call, or ask for hasattr and getattr; positional, keywords: of a call, None where they are not plain
Use = namedtuple("Use", "file line library owner member kind generations positional keywords")


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
                    returns = _annotated(node.returns, node.name)
                    if returns != OTHER:
                        returns = FUNCTIONS.get(node.name, returns)
                    self.returns[module_of(path), node.name] = returns
                    known = self.returns.get(node.name, returns)
                    self.returns[node.name] = returns if returns == known else UNKNOWN
                elif isinstance(node, ast.AnnAssign):
                    name = getattr(node.target, "attr", getattr(node.target, "id", ""))
                    for key in ((module_of(path), name), name):
                        known = self.fields.get(key, OTHER)
                        self.fields[key] = OTHER if _annotated(node.annotation, "?") == known == OTHER else UNKNOWN
        self.modules = {module_of(path) for path in self._trees}
        self.read = [path for path, tree in self._trees.items() if _marked(tree)]
        self.reach = {}  # generations in which a function or class of ours is named, by its name
        self.theirs = self._names_of_theirs()
        self.attributes = {}  # those of ours that are set in what is read, by name
        for _ in range(10):  # narrows until nothing changes
            self.uses, self.problems, self.seen = [], [], {}
            for path in self.read:
                _Module(self, path, self._trees[path]).walk()
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


def module_of(path):
    """edge.board of …/edge/board.py."""
    name = os.path.splitext(os.path.relpath(path, ROOT))[0].replace(os.sep, ".")
    return name[:-len(".__init__")] if name.endswith(".__init__") else name


def _annotated(annotation, name, names=NAMES):
    """What an annotation says: where there is none, or Any, alone or in Optional, List or Tuple, the name decides."""
    if annotation is None:
        return _by_name(name, names)
    if isinstance(annotation, ast.Name):
        return _by_name(name, names) if annotation.id == "Any" else OTHER
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        inner = annotation.slice.value if type(annotation.slice).__name__ == "Index" else annotation.slice
        inner = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
        if annotation.value.id in ("Optional", "List", "Tuple", "Sequence"):
            return _annotated(inner, name, names)
    return OTHER


def _by_name(name, names):
    bare = name.strip("_")
    if bare in names:
        return names[bare]
    if bare.endswith("s") and bare[:-1] in names:
        return ("several",) + names[bare[:-1]]
    return UNKNOWN


class _Module:
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
            if _ends(node.body):
                self._narrow(false)
            if node.orelse and _ends(node.orelse):
                self._narrow(true)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            self._assignment(node)
        elif isinstance(node, ast.For):
            self._bind(node.target, _element(self.type_of(node.iter)))
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
        if argument.annotation is not None and _annotated(argument.annotation, "?") == OTHER:
            return OTHER
        return self._by_name(argument.arg)

    def _returned_test(self, node):
        body = [s for s in node.body if not (isinstance(s, ast.Expr) and _literal(s.value) is not None)]
        if len(body) == 1 and isinstance(body[0], ast.Return) and _is_hasattr(body[0].value):
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
            said = _annotated(node.annotation, name, self.names)
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
        if name and value is not None and _is_hasattr(value):
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

    # ------------------------------------------------------------ generations

    def _narrow(self, narrower):
        self.generations = {library: found & narrower.get(library, found)
                            for library, found in self.generations.items()}

    def _under(self, narrower, work):
        before = dict(self.generations)
        self._narrow(narrower)
        result = work()
        self.generations = before
        return result

    def _test(self, node, record=True):
        """({library: generations in which it can be true}, the same for false); its own uses are recorded."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._test(node.operand, record)[::-1]
        if isinstance(node, ast.BoolOp):
            first, second = self._test(node.values[0], record), None
            rest = node.values[1] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[1:])
            both = isinstance(node.op, ast.And)
            second = self._under(first[0 if both else 1], lambda: self._test(rest, record))
            one, other = _cut(first[0 if both else 1], second[0 if both else 1]), _join(
                first[1 if both else 0], second[1 if both else 0])
            return (one, other) if both else (other, one)
        if _is_hasattr(node):
            kind = self.type_of(node.args[0], record)
            member = _literal(node.args[1])
            if kind[0] in self.scan.apis and member is not None:
                if record:
                    self._use(node, kind[0], kind[1], member, "ask")
                has = frozenset(g for g, api in self.scan.apis[kind[0]].items()
                                if member_of(api, kind[1].replace("class ", ""), member) is not None)
                return {kind[0]: has}, {kind[0]: self.scan.every[kind[0]] - has}
            if kind == UNKNOWN or kind[0] in self.scan.apis:
                self._problem(node, "hasattr of what cannot be told, or of a name that is no literal")
            return {}, {}
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else (
            getattr(node.func, "attr", getattr(node.func, "id", None)) if isinstance(node, ast.Call) else None)
        if record:
            self.type_of(node)
        return self.tests.get(name, ({}, {}))

    # ------------------------------------------------------------ expressions

    def _by_name(self, name):
        return _by_name(name, self.names)

    def type_of(self, node, record=True):
        """What an expression is; its uses are recorded."""
        if not record:
            uses, problems = len(self.scan.uses), len(self.scan.problems)
            kind = self.type_of(node)
            del self.scan.uses[uses:], self.scan.problems[problems:]
            return kind
        method = getattr(self, "_of_" + type(node).__name__.lower(), None)
        if method is not None:
            return method(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.type_of(child)
        return OTHER

    def _of_name(self, node):
        self._see(node.id)
        for scope in reversed(self.scopes):
            if node.id in scope:
                return scope[node.id]
        if hasattr(builtins, node.id):
            return OTHER
        return self._by_name(node.id)

    def _of_constant(self, node):
        return UNKNOWN if node.value is None else OTHER

    def _of_nameconstant(self, node):  # Python 3.6 and 3.7
        return UNKNOWN if node.value is None else OTHER

    def _of_attribute(self, node):
        self._see(node.attr)
        owner = self.type_of(node.value)
        if owner == ("package", ""):
            return (CUDA, "") if node.attr == "driver" else OTHER
        if owner[0] in self.scan.apis:
            return self._use(node, owner[0], owner[1], node.attr, "get")
        if owner[0] == "our module":
            return ("ours", (owner[1], node.attr)) if (owner[1], node.attr) in self.scan.returns else OTHER
        if owner == UNKNOWN or owner[0] == "several":
            self._unknown(node)
            return OTHER
        of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
        key = (self.module, node.attr) if of_self else node.attr
        if key in self.scan.methods and (of_self or key not in self.attributes):
            return ("ours", key)
        known, named, field = self.attributes.get(key), self._by_name(node.attr), self.scan.fields.get(key)
        if known is not None and known[0] in (*self.scan.apis, "several"):
            return known
        if field == OTHER:
            return OTHER
        if named != UNKNOWN:
            return named
        if UNKNOWN in (known, field):
            return UNKNOWN
        if node.attr in self.scan.theirs:
            self._unknown(node)
        return ("ours", node.attr) if node.attr in self.scan.returns else OTHER

    def _literal_of_several(self, node):
        kinds = [self.type_of(element) for element in node.elts]
        if not kinds:
            return ("empty", "")
        known = [kind for kind in kinds if kind[0] in self.scan.apis]
        return ("several",) + known[0] if known else OTHER

    _of_list = _of_tuple = _of_set = _literal_of_several

    def _of_call(self, node):
        function = node.func
        if _is_hasattr(node):
            self._test(node)
            return OTHER
        if isinstance(function, ast.Name) and function.id == "getattr":
            return self._of_getattr(node)
        positional = [self._argument(argument) for argument in node.args]
        keywords = {keyword.arg: self._argument(keyword.value) for keyword in node.keywords}
        plain = None not in keywords and not any(isinstance(argument, ast.Starred) for argument in node.args)
        if isinstance(function, ast.Attribute):
            owner = self.type_of(function.value)
            if owner[0] in self.scan.apis:
                self._see(function.attr)
                return self._use(node, owner[0], owner[1], function.attr, "call", positional if plain else None,
                                 keywords if plain else None)
        kind = self.type_of(function)
        if kind[0] == "ours":
            return self.scan.returns[kind[1]]
        return OTHER if kind == OTHER or kind[0] in ("our module", "empty") else UNKNOWN

    def _argument(self, node):
        kind = self.type_of(node)
        return [kind[1]] if kind[0] in self.scan.apis and kind[1] and not kind[1].startswith("class ") else None

    def _of_getattr(self, node):
        kind = self.type_of(node.args[0])
        if kind[0] in self.scan.apis:
            member = _literal(node.args[1])
            if member is None:
                self._problem(node, "getattr with a name that is no literal")
                return UNKNOWN
            return self._use(node, kind[0], kind[1], member,
                             "ask" if len(node.args) > 2 else "get")
        for argument in node.args[1:]:
            self.type_of(argument)
        return OTHER if kind != UNKNOWN else UNKNOWN

    def _of_subscript(self, node):
        kind = self.type_of(node.value)
        self.type_of(node.slice.value if type(node.slice).__name__ == "Index" else node.slice)  # until Python 3.8
        return _element(kind)

    def _of_ifexp(self, node):
        true, false = self._test(node.test)
        one = self._under(true, lambda: self.type_of(node.body))
        other = self._under(false, lambda: self.type_of(node.orelse))
        return one if one[0] in self.scan.apis or other == UNKNOWN else other

    def _of_boolop(self, node):
        self._test(node)
        return OTHER

    def _of_lambda(self, node):
        scope = {argument.arg: self._of_argument(argument, 1) for argument in node.args.args}
        self.scopes.append({name: kind if kind != UNKNOWN else OTHER for name, kind in scope.items()})
        kind = self.type_of(node.body)
        self.scopes.pop()
        return OTHER if kind == OTHER else kind

    def _comprehension(self, node):
        self.scopes.append({})
        for generator in node.generators:
            self._bind(generator.target, _element(self.type_of(generator.iter)))
            for test in generator.ifs:
                self._test(test)
        kinds = [self.type_of(getattr(node, part)) for part in ("elt", "key", "value") if hasattr(node, part)]
        self.scopes.pop()
        return ("several",) + kinds[0] if kinds[0][0] in self.scan.apis else OTHER

    _of_listcomp = _of_setcomp = _of_dictcomp = _of_generatorexp = _comprehension

    # ------------------------------------------------------------ what is found

    def _see(self, name):
        """A function or class of ours may be named here."""
        before = dict(self.scan.seen.get(name, ()))
        self.scan.seen[name] = tuple(sorted((library, found | before.get(library, frozenset()))
                                            for library, found in self.generations.items()))

    def _use(self, node, library, owner, member, kind, positional=None, keywords=None):
        """Record it; returns what it is."""
        bare = owner.replace("class ", "")
        if member in ("__file__", "__name__", "__class__"):
            return OTHER
        use = Use(self.path, node.lineno, library, bare, member, kind, frozenset(self.generations[library]),
                  positional, keywords)
        if use not in self.scan.uses:
            self.scan.uses.append(use)
        for generation in sorted(self.generations[library]):
            api = self.scan.apis[library][generation]
            found = member_of(api, bare, member)
            if found is not None:
                return self._result(api, library, bare, member, found, kind)
        return UNKNOWN

    def _result(self, api, library, owner, member, found, kind):
        if found["kind"] == "class":
            name = member if not owner else owner + "." + member
            return (library, name if kind == "call" else "class " + name)
        if found["kind"] == "value":
            return OTHER
        names = [found["type"]] if found["kind"] == "property" else [s["returns"] for s in found["signatures"]]
        if found["kind"] == "method" and kind != "call":
            return OTHER
        if names and names[0] in api["classes"]:
            return OTHER if is_enum(api, names[0]) else (library, names[0])
        known = names and names[0].split("[")[0] in PLAIN and names[0] != "object"
        return OTHER if known else UNKNOWN

    def _unknown(self, node):
        self._problem(node, "`{}`: what {} is cannot be told: name it as api_uses.NAMES does, or annotate it".format(
            _text(node), _text(node.value)))

    def _problem(self, node, words):
        self.scan.problems.append("{}:{}: {}".format(self.path, node.lineno, words))


def _literal(node):
    """The text that a literal is; None: it is none."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _is_hasattr(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr"


def _element(kind):
    return kind[1:] if kind[0] == "several" else OTHER if kind[0] in ("other", "ours", "empty") else UNKNOWN


def _ends(body):
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def _cut(one, other):
    return {library: one.get(library, other.get(library)) & other.get(library, one.get(library))
            for library in set(one) | set(other)}


def _join(one, other):
    return {library: one[library] | other[library] for library in set(one) & set(other)}


def _text(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return _text(node.value) + "." + node.attr
    return "…" if not isinstance(node, ast.Call) else _text(node.func) + "(…)"
