"""A Varlink client, written from the specification (https://varlink.org) and nothing else.

Interface parses a definition and tells what is wrong with a value that should be as declared;
Service calls methods over a local socket and holds every answer against the definitions that the
service itself gives of its interfaces.
"""

import json
import re
import socket

PATIENCE = 60  # seconds for an answer on a busy machine


class Wrong(Exception):
    """What is not as the specification, or the service's own definitions, have it."""


class CallError(Exception):
    """The error that a call was answered with: its full name and parameters."""

    def __init__(self, name, parameters):
        super().__init__(f"{name} {json.dumps(parameters)}")
        self.name = name
        self.parameters = parameters


TOKEN = re.compile(r"[ \t\r\n]+|#[^\n]*(?:\n|$)|(?P<token>->|\[string\]|\[\]|[(),:?]|[A-Za-z0-9_.-]+?"
                   r"(?=->|[^A-Za-z0-9_.-]|$))")
INTERFACE_NAME = re.compile(r"[A-Za-z](-*[A-Za-z0-9])*(\.[A-Za-z0-9](-*[A-Za-z0-9])*)+")
NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
FIELD_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
SIMPLE = ("bool", "int", "float", "string", "object")


def tokens_of(text):
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Wrong(f"no token at {text[at:at + 20]!r}")
        at = match.end()
        if match["token"]:
            yield match["token"]


class Interface:
    """A parsed definition: its name, types, methods (what they take, what they give) and errors.

    A type is a pair: ("struct", {name: type}), ("enum", [names]), ("array" | "map" | "maybe", type),
    ("named", name), or (a simple type's name, None).
    """

    def __init__(self, text):
        self.text = text
        self.types, self.methods, self.errors = {}, {}, {}
        self.tokens = list(tokens_of(text))
        self.tokens.reverse()
        self.expect("interface")
        self.name = self.word(INTERFACE_NAME, "an interface's name")
        while self.tokens:
            self.member()
        if not self.methods and not self.types and not self.errors:
            raise Wrong("an interface without members")
        self.resolve()

    def peek(self):
        return self.tokens[-1] if self.tokens else ""

    def accept(self, token):
        if self.peek() != token:
            return False
        self.tokens.pop()
        return True

    def expect(self, token):
        if not self.accept(token):
            raise Wrong(f"{self.peek()!r} where {token!r} is expected")

    def word(self, pattern, what):
        if not pattern.fullmatch(self.peek()):
            raise Wrong(f"{self.peek()!r} is not {what}")
        return self.tokens.pop()

    def member(self):
        keyword = self.tokens.pop()
        name = self.word(NAME, "a name")
        if name in self.types or name in self.methods or name in self.errors:
            raise Wrong(f"{name} is declared twice")
        if keyword == "type":
            self.types[name] = self.group()
        elif keyword == "method":
            taken = self.struct()
            self.expect("->")
            self.methods[name] = (taken, self.struct())
        elif keyword == "error":
            self.errors[name] = self.struct()
        else:
            raise Wrong(f"{keyword!r} declares nothing")

    def struct(self):
        found = self.group()
        if found[0] != "struct":
            raise Wrong("an enum where a struct is expected")
        return found

    def group(self):
        """A struct or an enum; empty parentheses are a struct."""
        self.expect("(")
        fields, names = {}, []
        while self.peek() != ")":
            if fields or names:
                self.expect(",")
            name = self.word(FIELD_NAME, "a field's name")
            if name in fields or name in names:
                raise Wrong(f"the field {name} is declared twice")
            if not names and self.accept(":"):
                fields[name] = self.type()
            elif fields:
                raise Wrong(f"the field {name} has no type")
            else:
                names.append(name)
        self.expect(")")
        return ("enum", names) if names else ("struct", fields)

    def type(self):
        if self.accept("?"):
            if self.peek() == "?":
                raise Wrong("a type that is nullable twice")
            return ("maybe", self.type())
        if self.accept("[]"):
            return ("array", self.type())
        if self.accept("[string]"):
            return ("map", self.type())
        if self.peek() == "(":
            return self.group()
        if self.peek() in SIMPLE:
            return (self.tokens.pop(), None)
        return ("named", self.word(NAME, "a type"))

    def resolve(self):
        """Every name of a type is declared."""
        waiting = list(self.types.values()) + list(self.errors.values())
        for taken, given in self.methods.values():
            waiting += [taken, given]
        while waiting:
            kind, inner = waiting.pop()
            if kind == "named" and inner not in self.types:
                raise Wrong(f"there is no type {inner}")
            if kind == "struct":
                waiting += inner.values()
            elif kind in ("array", "map", "maybe"):
                waiting.append(inner)

    def check(self, kind, value, path=""):
        """Raises Wrong where value is not of that type."""
        kind, inner = kind
        if kind == "named":
            self.check(self.types[inner], value, path)
            return
        if kind == "maybe":
            if value is not None:
                self.check(inner, value, path)
            return
        right = {
            "bool": isinstance(value, bool),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, (int, float)) and not isinstance(value, bool),
            "string": isinstance(value, str),
            "object": isinstance(value, dict),
            "struct": isinstance(value, dict),
            "map": isinstance(value, dict),
            "array": isinstance(value, list),
            "enum": isinstance(value, str) and value in (inner or ()),
        }[kind]
        if not right:
            raise Wrong(f"{path or 'it'} is no {kind}: {value!r}")
        if kind == "array":
            for index, element in enumerate(value):
                self.check(inner, element, f"{path}[{index}]")
        elif kind == "map":
            for key, element in value.items():
                self.check(inner, element, f"{path}[{key!r}]")
        elif kind == "struct":
            self.check_struct(inner, value, path)

    def check_struct(self, fields, value, path):
        for name in value:
            if name not in fields:
                raise Wrong(f"{path}.{name} is not declared")
        for name, kind in fields.items():
            self.check(kind, value.get(name), f"{path}.{name}")


def strict_json(data):
    """The object that the bytes are, if they are JSON as the RFC has it, without a name twice."""
    def once(pairs):
        result = dict(pairs)
        if len(result) != len(pairs):
            raise Wrong(f"a name twice in {data!r}")
        return result

    def no_constant(word):
        raise Wrong(f"{word} is not JSON")

    message = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    if not isinstance(message, dict):
        raise Wrong(f"no object: {data!r}")
    return message


class Connection:
    """A connection, on which messages are sent and received as they are."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # waits where many others do
        self.socket.settimeout(PATIENCE)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_bytes(self, data):
        """Whether the service took them all."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def send(self, method, parameters=None, **flags):
        message = {"method": method}
        if parameters is not None:
            message["parameters"] = parameters
        message.update(flags)
        self.send_bytes(json.dumps(message).encode() + b"\0")

    def receive_bytes(self):
        """The next message without its NUL; None at the end."""
        while b"\0" not in self.buffer:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part = b""
            if not part:
                if self.buffer:
                    raise Wrong(f"cut off within {self.buffer[:100]!r}")
                return None
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return message

    def receive(self):
        """The next message; None at the end."""
        data = self.receive_bytes()
        return None if data is None else strict_json(data)


class Service:
    """What listens at a path, with the interfaces that it says it has."""

    def __init__(self, path):
        self.path = path
        self.interfaces = {}
        self.info = self.raw("org.varlink.service.GetInfo")
        for name in self.info["interfaces"]:
            text = self.raw("org.varlink.service.GetInterfaceDescription", {"interface": name})
            self.interfaces[name] = Interface(text["description"])
            if self.interfaces[name].name != name:
                raise Wrong(f"{self.interfaces[name].name} where {name} is promised")

    def raw(self, method, parameters=None):
        with Connection(self.path) as connection:
            connection.send(method, parameters)
            answer = connection.receive()
        if answer is None or "error" in answer:
            raise Wrong(f"{method}: {answer}")
        return answer["parameters"]

    def split(self, name):
        """The interface of a full name, and what is behind the last dot."""
        interface, _, short = name.rpartition(".")
        if interface not in self.interfaces:
            raise Wrong(f"{name} is of no interface of the service")
        return self.interfaces[interface], short

    def check_answer(self, method, answer):
        """The reply's parameters, or CallError; Wrong where either is not as declared."""
        if answer is None:
            raise Wrong(f"{method} was not answered")
        for name in answer:
            if name not in ("parameters", "continues", "error"):
                raise Wrong(f"an answer with {name}")
        parameters = answer.get("parameters") or {}
        if "error" in answer:
            interface, short = self.split(answer["error"])
            if short not in interface.errors:
                raise Wrong(f"{answer['error']} is not declared")
            interface.check(interface.errors[short], parameters)
            raise CallError(answer["error"], parameters)
        if method:
            interface, short = self.split(method)
            interface.check(interface.methods[short][1], parameters)
        return parameters

    def call(self, method, parameters=None, **flags):
        """The parameters of the one reply; CallError."""
        with Connection(self.path) as connection:
            connection.send(method, parameters, **flags)
            answer = connection.receive()
            if answer and answer.get("continues"):
                raise Wrong(f"{method} continues, though nobody asked for more")
            return self.check_answer(method, answer)

    def stream(self, method, parameters=None):
        """The parameters of each reply, as they come; closing it hangs up."""
        with Connection(self.path) as connection:
            connection.send(method, parameters, more=True)
            while True:
                answer = connection.receive()
                yield self.check_answer(method, answer)
                if not answer.get("continues"):
                    return
