"""What the tests of the command line share: a place to run in, a VM, and the report in TAP.

A file of tests is run as `FILE PROGRAM [PAYLOADS ...]`. It marks its functions with @test and
ends in sys.exit(main()); each runs in a directory of its own, where the sockets are, too.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

BULKHEAD = sys.argv[1]
PATIENCE = 60  # seconds that anything may take on a busy machine
TESTS = []


class Skip(Exception):
    """What a test needs is not there."""


def test(function):
    TESTS.append(function)
    return function


def expect(condition, *what):
    if not condition:
        raise AssertionError(*what)


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        expect(time.monotonic() < end, f"{what} did not come")
        time.sleep(0.01)


def need_kvm():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no usable /dev/kvm")


def payload(name):
    """The path of a guest that can run here."""
    path = os.path.join(sys.argv[2], f"payload-{name}.elf")
    if not os.path.exists(path):
        raise Skip(f"{name} is not built")
    need_kvm()
    return path


def expect_failure(result, code, *words):
    """One sentence on standard error that has all the words, and nothing on standard output."""
    expect(result.returncode == code, f"exit {result.returncode}, not {code}: {result.stderr}")
    expect(result.stderr.startswith("bulkhead: ") and result.stderr.count("\n") == 1,
           f"not one sentence: {result.stderr!r}")
    for word in words:
        expect(word in result.stderr, f"no {word!r} in {result.stderr!r}")
    expect(not result.stdout, f"unexpected output: {result.stdout!r}")


def listen(path):
    """A stream socket that listens at a path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def call(path, method, parameters=None):
    """The answer of the Varlink service at a socket; None if it hangs up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(path)
        message = {"method": method, "parameters": parameters or {}}
        client.sendall(json.dumps(message).encode() + b"\0")
        answer = b""
        while not answer.endswith(b"\0"):
            part = client.recv(65536)
            if not part:
                return None
            answer += part
        return json.loads(answer[:-1])


class Place:
    """The directory of a test, and the command line in it."""

    def __init__(self, path, **environment):
        self.path = path
        self.environment = dict(os.environ, **environment)

    def file(self, name, content=b"x" * 512):
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run(self, *arguments, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("timeout", PATIENCE)
        return subprocess.run([BULKHEAD, *arguments], capture_output=True, text=True,
                              env=self.environment, **options)

    def does(self, *arguments, **options):
        """What the command prints; it ends well."""
        result = self.run(*arguments, **options)
        expect(result.returncode == 0, result)
        return result.stdout

    def reply(self, *arguments, **options):
        return json.loads(self.does(*arguments, "--json", **options))

    def socket(self, name):
        return os.path.join(self.path, "bulkhead", name + ".sock")


class Vm:
    """A VM that idles; SIGTERM ends it where its block does."""

    def __init__(self, place, *options, name="vm", boot=None):
        self.place = place
        self.name = name
        self.words = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [BULKHEAD, "run", "--name", name, *(boot or ("--kernel", payload("idle"))), *options],
            env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.words)
        self.pid = self.process.pid

    def __enter__(self):
        try:
            wait_for(self.answers, f"VM {self.name}")
        except BaseException:
            self.close()
            raise
        return self

    def answers(self):
        expect(self.process.poll() is None, f"no VM: {self.said()}")
        return self.place.run("inspect", self.name).returncode == 0

    def tree(self):
        """What `bulkhead inspect` prints of it."""
        return self.place.reply("inspect", self.name)

    def children(self):
        """The process ids of its worker, which comes first, and of its helpers."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="utf-8") as file:
            return [int(word) for word in file.read().split()]

    def worker(self):
        return self.children()[0]

    def helpers(self):
        return self.children()[1:]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def said(self):
        """Its standard error, so far."""
        self.words.seek(0)
        return self.words.read()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def end(self):
        self.signal(signal.SIGTERM)
        code = self.wait()
        expect(code == 143, f"exit {code}: {self.said()}")

    def close(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.words.close()

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.process.poll() is None:
                self.end()
        finally:
            self.close()


def open_files(pid):
    """What each descriptor of the process is; one that is closed meanwhile is left out."""
    files = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            files[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return files


def run_test(number, function):
    """Whether it went well, or was skipped."""
    title = f"{number} - {function.__name__.replace('_', ' ')}"
    with tempfile.TemporaryDirectory(prefix="bulkhead-cli-") as path:
        os.chdir(path)
        os.environ["XDG_RUNTIME_DIR"] = path
        # Not that of the host.
        os.environ["BULKHEAD_SOCKET"] = os.path.join(path, "bulkhead", "vmms.sock")
        try:
            function(Place(path))
            print(f"ok {title}", flush=True)
        except Skip as reason:
            print(f"ok {title} # SKIP {reason}", flush=True)
        except (Exception, SystemExit):  # whatever it was, the others run
            print(f"not ok {title}", flush=True)
            print(*(f"# {line}" for line in traceback.format_exc().splitlines()), sep="\n",
                  flush=True)
            return False
        finally:
            os.chdir("/")
    return True


def main():
    """Runs the tests; the exit code."""
    print(f"1..{len(TESTS)}", flush=True)
    results = [run_test(number, function) for number, function in enumerate(TESTS, 1)]
    return 0 if all(results) else 1
