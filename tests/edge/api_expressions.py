"""What expressions are, for api_uses: their types, the uses in them, and the tests that choose generations."""

import ast
import builtins

from api_compare import is_enum, member_of
from api_names import CUDA, OTHER, PLAIN, UNKNOWN, Use, by_name, cut, element, is_hasattr, join, literal, text_of


class Expressions:
    """The part of a Module that looks at expressions."""

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
            one, other = cut(first[0 if both else 1], second[0 if both else 1]), join(
                first[1 if both else 0], second[1 if both else 0])
            return (one, other) if both else (other, one)
        if is_hasattr(node):
            kind = self.type_of(node.args[0], record)
            member = literal(node.args[1])
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
        return by_name(name, self.names)

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
        if is_hasattr(node):
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
            member = literal(node.args[1])
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
        return element(kind)

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
            self._bind(generator.target, element(self.type_of(generator.iter)))
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
        self._problem(node, "`{}`: what {} is cannot be told: name it as api_names.NAMES does, or annotate it".format(
            text_of(node), text_of(node.value)))

    def _problem(self, node, words):
        self.scan.problems.append("{}:{}: {}".format(self.path, node.lineno, words))
