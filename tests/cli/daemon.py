"""What the tests of the management daemon share: a daemon in the test's directory, and its clients."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import BULKHEAD, PATIENCE, expect, payload, wait_for

VMMS = os.path.join(os.path.dirname(BULKHEAD), "bulkhead-vmms")
TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
INTERFACE = "io.bulkhead.VMMS."
MEMORY = 16 << 20


class Refused(Exception):
    """A call was answered with an error."""

    def __init__(self, answer):
        super().__init__(json.dumps(answer))
        self.error = answer["error"].rsplit(".", 1)[-1]
        self.parameters = answer["parameters"]
        self.message = self.parameters.get("message", "")


class Client:
    """A connection to the daemon, and the replies that come on it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, method, more=False, **parameters):
        message = {"method": INTERFACE + method, "parameters": parameters}
        if more:
            message["more"] = True
        self.socket.sendall(json.dumps(message).encode() + b"\0")
        return self

    def message(self):
        """The next answer as it is; None at the end."""
        while b"\0" not in self.data:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part = b""
            if not part:
                return None
            self.data += part
        text, self.data = self.data.split(b"\0", 1)
        return json.loads(text)

    def reply(self):
        answer = self.message()
        expect(answer is not None, "the daemon hung up")
        if "error" in answer:
            raise Refused(answer)
        return answer["parameters"]

    def call(self, method, **parameters):
        return self.send(method, **parameters).reply()


def start_time(pid):
    """When a process began; None where there is none, or only what is left of one."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def descendants(pid):
    found = children(pid)
    for child in list(found):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += descendants(child)
    return found


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def idle(pid):
    """Whether a process and all that it started wait for something, and go on to for a moment."""
    for _ in range(20):
        for each in [pid, *descendants(pid)]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{each}/stat", encoding="utf-8", errors="replace") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] == "R":
                        return False
        time.sleep(0.01)
    return True


class Apart:
    """Namespaces of their own, in which a script has been run, where this host lets us (works)."""

    def __init__(self, script, *kinds):
        user = ["--user", "--map-current-user"] if os.geteuid() else []
        self.process = subprocess.Popen(
            ["unshare", *user, "--mount", *kinds, "sh", "-ec", script + "\necho; exec cat"],
            env=dict(os.environ, PATH=TOOLS), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.kinds = [*(["--user", "--preserve-credentials"] if user else []), "--mount", *kinds]
        self.works = self.process.stdout.readline() == b"\n"

    def enter(self):
        """The words before a command that is to run there."""
        return [shutil.which("nsenter", path=TOOLS), "--target", str(self.process.pid), *self.kinds]

    def does(self, *command):
        return subprocess.run([*self.enter(), *command], env=dict(os.environ, PATH=TOOLS), check=True,
                              capture_output=True, text=True, timeout=PATIENCE).stdout

    def seen(self, path):
        """The same file, for who is not there."""
        return f"/proc/{self.process.pid}/root{path}"

    def close(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Daemon:
    """bulkhead-vmms with its socket and state in a test's directory; where its block ends, no process
    of its VMs is left."""

    def __init__(self, place, *options, state="state", run="run", prefix=(), apart=None):
        self.place = place
        self.state = os.path.join(place.path, state)
        self.run = os.path.join(place.path, run)
        self.own_socket = os.path.join(self.run, "vmms.sock")
        self.options = options
        self.prefix = apart.enter() if apart else prefix
        if apart:
            self.run = apart.seen(self.run)
        self.socket = os.path.join(self.run, "vmms.sock")
        self.words = tempfile.TemporaryFile("w+")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [*self.prefix, VMMS, "--socket", self.own_socket, "--state", self.state, *self.options],
            env=self.place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.words)
        wait_for(self.answers, "the daemon")

    def answers(self):
        expect(self.process.poll() is None, f"the daemon ended: {self.said()}")
        try:
            with self.client() as client:
                client.call("ShowHost")
                return True
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def said(self):
        self.words.seek(0)
        return self.words.read()

    def client(self):
        return Client(self.socket)

    def call(self, method, **parameters):
        with self.client() as client:
            return client.call(method, **parameters)

    def fails(self, error, method, **parameters):
        """The parameters of the error that the call is answered with."""
        try:
            reply = self.call(method, **parameters)
        except Refused as refused:
            expect(refused.error == error, f"not {error}: {refused}")
            return refused.parameters
        raise AssertionError(f"{method} went well: {reply}")

    def create(self, name, kernel="idle", **settings):
        """A VM of a payload; its description."""
        settings = {"version": 1, "name": name, "processors": {"count": 1},
                    "memory": {"startup": MEMORY}, "boot": {"kernel": payload(kernel)}, **settings}
        return self.call("CreateVM", settings=settings)["vm"]

    def start_vm(self, name):
        return self.call("StartVM", vm=name)["vm"]

    def vm(self, name):
        return self.call("GetVM", vm=name)["vm"]

    def wait(self, name, *states):
        return self.call("WaitVM", vm=name, states=list(states), timeout=PATIENCE)["vm"]

    def vms(self):
        return {vm["name"]: vm for vm in self.call("ListVMs")["vms"]}

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def restart(self):
        """Another daemon, where one was killed."""
        self.kill()
        self.start()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        expect(code == 0, f"exit {code}: {self.said()}")

    def notes(self):
        """What run.json says of each VM that runs."""
        top = os.path.join(self.run, "vms")
        for uuid in os.listdir(top) if os.path.isdir(top) else []:
            try:
                with open(os.path.join(top, uuid, "run.json"), encoding="utf-8") as file:
                    yield json.load(file)
            except FileNotFoundError:
                pass

    def close(self):
        self.kill()
        for note in self.notes():
            if start_time(note["supervisor_pid"]) == note["supervisor_start"]:
                os.kill(note["supervisor_pid"], signal.SIGKILL)
        self.words.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
