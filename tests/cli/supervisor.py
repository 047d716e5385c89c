#!/usr/bin/env python3
"""bulkhead-supervisor, started as a daemon starts it; TAP on standard output.

    supervisor.py BULKHEAD PAYLOADS
"""

import base64
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import BULKHEAD, PATIENCE, Place, expect, main, open_files, payload, test, wait_for

SUPERVISOR = os.path.join(os.path.dirname(BULKHEAD), "bulkhead-supervisor")
RECORD_SIZE = 4096


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Stream:
    """A Varlink client's connection, and what comes on it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.bytes = b""

    def send(self, method, more=False, **parameters):
        message = {"method": "io.bulkhead.VM." + method, "parameters": parameters, "more": more}
        self.socket.sendall(json.dumps(message).encode() + b"\0")
        return self

    def take(self):
        """The next reply, whole; None at the end."""
        while b"\0" not in self.bytes:
            try:
                part = self.socket.recv(1 << 16)
            except ConnectionResetError:
                part = b""
            if not part:
                return None
            self.bytes += part
        message, _, self.bytes = self.bytes.partition(b"\0")
        return json.loads(message)

    def reply(self):
        return self.take()["parameters"]

    def await_event(self, name):
        """The next event of that name; those before it do not matter."""
        while True:
            event = self.reply()
            if event["event"] == name:
                return event

    def close(self):
        self.socket.close()


def deaf_pipe():
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


class Managed:
    """A VM as a daemon has it: its socket and its record are made before it."""

    def __init__(self, place, *options, own=(), deaf=False, kernel=None, kvm=None, starter=False,
                 connect=True, within=(), fds=()):
        kernel = kernel or payload("echo")
        self.path = os.path.join(place.path, "vm.sock")
        self.record = os.open(os.path.join(place.path, "vm.exit"), os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(self.record, 0, RECORD_SIZE)
        self.words = place.file("words", b"")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen()
            own_fds = (listener.fileno(), self.record) + (() if kvm is None else (kvm,))
            given = ",".join(name + str(fd) for name, fd in zip(("", "record=", "kvm="), own_fds))
            fds = (*own_fds, *fds)
            arguments = [*within, SUPERVISOR, "--vmms", given, *own, "--", "--name", "vm",
                         "--kernel", kernel, *options]
            if starter:  # who starts it, and lives on beside it
                arguments = [sys.executable, "-c",
                             "import subprocess, sys, time\n"
                             f"subprocess.Popen(sys.argv[1:], pass_fds={fds!r})\n"
                             "time.sleep(1000)", *arguments]
            with deaf_pipe() if deaf else open(self.words, "w", encoding="utf-8") as words:
                self.process = subprocess.Popen(arguments, pass_fds=fds, stdin=subprocess.DEVNULL,
                                                stdout=subprocess.DEVNULL, stderr=words)
        self.pid = None
        if connect:
            self.watch = Stream(self.path).send("Watch", more=True)
            self.state = self.watch.reply()

    def __enter__(self):
        expect(self.state["event"] == "state", self.state)
        if self.state["state"] == "starting":
            expect(self.watch.await_event("ready")["state"] == "running", "ready")
        self.worker = self.state["worker_pid"]
        with open(f"/proc/{self.worker}/status", encoding="utf-8") as file:
            self.pid = next(int(line.split()[1]) for line in file if line.startswith("PPid:"))
        return self

    def call(self, method, **parameters):
        stream = Stream(self.path).send(method, **parameters)
        answer = stream.take()
        stream.close()
        return answer

    def said(self):
        with open(self.words, encoding="utf-8") as file:
            return file.read()

    def outcome(self):
        """What the record says; None where there is none."""
        data = os.pread(self.record, RECORD_SIZE, 0)
        expect(len(data) == RECORD_SIZE, "the record's size")
        if data == b"\0" * RECORD_SIZE:
            return None
        magic, length, crc = struct.unpack_from("<8sII", data)
        text = data[16:16 + length]
        expect(magic == b"BHEXIT1\n" and crc == crc32c(text), data)
        return json.loads(text)

    def end_of_watch(self):
        """The event end; the record is whole when it comes."""
        event = self.watch.await_event("end")
        outcome = self.outcome()
        expect({key: event[key] for key in ("reason", "code", "crash")} ==
               {key: outcome[key] for key in ("reason", "code", "crash")}, event, outcome)
        expect(self.watch.reply()["state"] == "off", "the last reply")
        expect(self.watch.take() is None, "more after the last")
        return event

    def is_there(self):
        return os.path.exists(f"/proc/{self.pid}")

    def drop(self):
        os.close(self.record)

    def __exit__(self, kind, *_):
        try:
            if self.pid and self.is_there():
                os.kill(self.pid, signal.SIGTERM)
                wait_for(lambda: not self.is_there() or self.process.poll() is not None,
                         "its end")
        finally:
            self.process.kill()
            self.process.wait(PATIENCE)
            os.close(self.record)
            self.watch.close()


class Console(Stream):
    """A client of the guest's console."""

    def __init__(self, vm, **parameters):
        super().__init__(vm.path)
        self.send("OpenConsole", more=True, **parameters)
        self.text = b""
        self.lost = 0
        self.take_text()

    def take_text(self):
        news = self.reply()
        self.session, self.writer = news["session"], news["writer"]
        self.text += base64.b64decode(news["data"], validate=True)
        self.lost += news.get("lost", 0)

    def wait(self, words):
        while words not in self.text:
            self.take_text()
        return self


def type_at(vm, console, text):
    return vm.call("WriteConsole", session=console.session,
                   data=base64.b64encode(text).decode())


@test
def it_says_what_is_wrong(place):
    def fails(code, word, *arguments):
        result = subprocess.run([SUPERVISOR, *arguments], capture_output=True, text=True,
                                timeout=PATIENCE, stdin=subprocess.DEVNULL)
        expect(result.returncode == code and word in result.stderr and
               result.stderr.count("\n") == 1, result)

    fails(2, "--vmms is missing")
    fails(2, "no open descriptor", "--vmms", "99", "--", "--kernel", "x")
    fails(2, "LISTEN_FD", "--vmms", "x" * 100)
    fails(2, "UID:GID", "--owner", "me")
    fails(2, "UID:GID", "--owner", "1:")
    fails(2, "not root", "--worker-uid", "0")
    fails(2, "unknown option", "--name", "vm")
    # What only a daemon gives is not for `bulkhead run`.
    for words in (("--console", "ring"), ("--nic", "fd=3")):
        result = place.run("run", "--kernel", "x", *words)
        expect(result.returncode == 2 and words[0] in result.stderr, result)


@test
def what_cannot_start_leaves_a_record(place):
    missing = os.path.join(place.path, "nothing.vhdx")
    vm = Managed.__new__(Managed)
    vm.record = os.open(place.file("vm.exit", b"\0" * RECORD_SIZE), os.O_RDWR)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.join(place.path, "vm.sock"))
        listener.listen()
        result = subprocess.run(
            [SUPERVISOR, "--vmms", f"{listener.fileno()},record={vm.record}", "--", "--name", "vm",
             "--kernel", payload("idle"), "--disk", missing], capture_output=True, text=True,
            pass_fds=(listener.fileno(), vm.record), timeout=PATIENCE, stdin=subprocess.DEVNULL)
    outcome = vm.outcome()
    os.close(vm.record)
    expect(result.returncode == 1 and missing in result.stderr, result)
    expect(outcome["reason"] == "failed" and outcome["code"] == 1 and
           missing in outcome["message"], outcome)
    expect(abs(outcome["time"] / 1e6 - time.time()) < 3600, outcome)


@test
def who_watches_hears_it_all(place):
    with Managed(place) as vm:
        second = Stream(vm.path).send("Watch", more=True)
        expect(second.reply()["state"] == "running", "the state")
        expect(vm.call("Watch")["parameters"]["worker_pid"] == vm.worker, "a state alone")
        for method, event, state in (("Pause", "paused", "paused"),
                                     ("Resume", "resumed", "running")):
            expect("error" not in vm.call(method), method)
            for stream in (vm.watch, second):
                news = stream.reply()
                expect(news["event"] == event and news["state"] == state, news)
        expect("error" in vm.call("Resume"), "a VM that runs was resumed")
        vm.call("Kill")
        expect(vm.watch.reply()["event"] == "stopping", "stopping")
        event = vm.end_of_watch()
        expect(event["reason"] == "stopped" and event["code"] == 0, event)
        expect(second.await_event("end")["reason"] == "stopped", "the second")


@test
def a_crash_of_the_guest_is_told(place):
    with Managed(place) as vm:
        console = Console(vm).wait(b"echo\n")
        type_at(vm, console, b"crash\npower-off\n")
        event = vm.watch.reply()
        expect(event["event"] == "crash" and "P0 0xdead" in event["message"], event)
        event = vm.end_of_watch()
        expect(event["reason"] == "crash" and event["code"] == 4, event)
        expect("P0 0xdead" in vm.outcome()["crash"], vm.outcome())


@test
def a_killed_worker_leaves_a_record(place):
    with Managed(place, deaf=True) as vm:
        expect(vm.outcome() is None, "a record before the end")
        os.kill(vm.worker, signal.SIGKILL)
        event = vm.end_of_watch()
        expect(event["reason"] == "failed" and "signal 9" in event["message"], event)
        expect("signal 9" in vm.outcome()["message"], vm.outcome())


@test
def it_outlives_who_started_it(place):
    with Managed(place, starter=True) as vm:
        expect(vm.process.pid != vm.pid, "no starter")
        vm.process.kill()
        vm.process.wait(PATIENCE)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT):
            os.kill(vm.pid, number)
        expect(os.getsid(vm.pid) == vm.pid, "no session of its own")
        console = Console(vm).wait(b"echo\n")
        expect("error" not in type_at(vm, console, b"there\n"), "no writer")
        console.wait(b"<there>\n")
        os.kill(vm.pid, signal.SIGTERM)
        event = vm.end_of_watch()
        expect(event["reason"] == "stopped" and event["code"] == 143, event)


@test
def nothing_of_it_is_passed_on(place):
    with Managed(place) as vm:
        files = open_files(vm.pid)
        for fd, path in files.items():
            with contextlib.suppress(FileNotFoundError):
                with open(f"/proc/{vm.pid}/fdinfo/{fd}", encoding="utf-8") as file:
                    flags = next(int(line.split()[1], 8) for line in file
                                 if line.startswith("flags:"))
                expect(int(fd) < 3 or flags & os.O_CLOEXEC, f"{path} goes to helpers, too")
        expect(any(path.endswith("vm.exit") for path in files.values()), files)


@test
def a_console_has_many_readers_and_one_writer(place):
    with Managed(place) as vm:
        reader = Console(vm, read_only=True).wait(b"echo\n")
        first = Console(vm)
        second = Console(vm)
        expect(second.text == reader.text == first.text, "what was there before")
        expect(first.writer and not second.writer and not reader.writer, "who writes")
        expect("error" not in type_at(vm, first, b"one\n"), "the writer")
        for console in (first, second, reader):
            console.wait(b"<one>\n")
        answer = type_at(vm, second, b"two\n")
        expect(answer["error"].endswith("Refused") and "another client" in
               answer["parameters"]["message"], answer)
        answer = vm.call("WriteConsole", session=first.session, data="?")
        expect(answer["error"].endswith("InvalidParameter"), answer)
        first.close()
        while not second.writer:  # hears of it
            second.take_text()
        expect("error" not in type_at(vm, second, b"three\n"), "the next writer")
        reader.wait(b"<three>\n")
        expect(not reader.writer, "who only reads never writes")
        expect("two" not in reader.text.decode(), "what was refused was typed")
        long = b"x" * 200 + b"\n"
        expect("error" not in type_at(vm, second, long * 20), "a long text")
        reader.wait((b"<" + long[:-1] + b">\n") * 20)


@test
def a_slow_reader_loses_what_is_old(place):
    with Managed(place) as vm:
        writer = Console(vm).wait(b"echo\n")
        slow = Console(vm, read_only=True)
        type_at(vm, writer, b"flood\n")
        writer.wait(b"flooded\n")
        expect(writer.lost == 0, "who reads lost something")
        slow.wait(b"flooded\n")
        expect(slow.lost > 0, "nothing was lost: the flood is too small")
        expect(len(slow.text) + slow.lost == len(writer.text), "more was lost than was told")
        expect(writer.text.endswith(slow.text[-65536:]), "what is new is whole")
        late = Console(vm)
        expect(late.text == writer.text[-65536:] and late.lost == 0, "the last 64 KiB")


@test
def readers_get_the_last_words(place):
    with Managed(place) as vm:
        console = Console(vm).wait(b"echo\n")
        type_at(vm, console, b"last\npower-off\n")
        more = True
        while more:
            answer = console.take()
            more = answer.get("continues", False)
            console.text += base64.b64decode(answer["parameters"]["data"])
        expect(console.text.endswith(b"<last>\n") and console.take() is None, console.text)
        expect(vm.end_of_watch()["reason"] == "power-off", vm.outcome())


@test
def a_hung_worker_is_found_and_killed(place):
    with Managed(place, own=("--pulse", "200")) as vm:
        os.kill(vm.worker, signal.SIGSTOP)
        expect("for 1 s" in vm.watch.await_event("hung")["message"], "what is told")
        os.kill(vm.worker, signal.SIGCONT)
        vm.watch.await_event("answering")
        vm.call("Pause")
        vm.watch.await_event("paused")
        time.sleep(1)  # a paused VM answers, and is not hung
        vm.call("Resume")
        vm.watch.await_event("resumed")
        os.kill(vm.worker, signal.SIGSTOP)
        vm.watch.await_event("hung")
        event = vm.end_of_watch()
        expect(event["reason"] == "failed" and "not answered for 6 s" in event["message"], event)


def make_tap():
    """The descriptors of a tap with two queues; none where this user may make no tap."""
    flags = 0x0002 | 0x1000 | 0x4000 | 0x0100  # TAP, NO_PI, VNET_HDR, MULTI_QUEUE
    name, fds = b"bhtest%d", []
    try:
        for _ in range(2):
            fds.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
            answer = fcntl.ioctl(fds[-1], 0x400454ca, struct.pack("16sH22x", name, flags))
            name = answer[:16].rstrip(b"\0")
    except OSError:
        for fd in fds:
            os.close(fd)
        return None
    return fds


@test
def a_tap_comes_as_descriptors(place):
    with open("/dev/null", "rb") as null:
        vm = Managed(place_in(place, "first"), "--nic", f"fd={null.fileno()}", connect=False,
                     fds=(null.fileno(),))
        expect(vm.process.wait(PATIENCE) == 1 and "not a tap" in vm.said(), vm.said())
        vm.drop()
    for number, words in enumerate(("fd=", "fd=99", "fd=0", "fd=3,queues=2", "fd=x", "fd=3:")):
        vm = Managed(place_in(place, f"wrong{number}"), "--nic", words, connect=False)
        expect(vm.process.wait(PATIENCE) == 2 and f"--nic {words}" in vm.said(), vm.said())
        vm.drop()
    fds = make_tap()
    if not fds:
        return
    with Managed(place_in(place, "second"), "--nic", f"fd={fds[0]}:{fds[1]}", "--cpus", "2",
                 fds=fds) as vm:
        for fd in fds:
            os.close(fd)
        figures = vm.call("Inspect")["parameters"]["tree"]["devices"]
        nic = next(node for name, node in figures.items() if name.startswith("netvsp@"))
        expect(nic["figures"]["backend"] == "tap", nic)
        expect("tun" not in " ".join(open_files(vm.pid).values()), "the supervisor keeps the tap")


def in_a_small_place(path):
    """The words before a command that has a file system of 12 MiB at path, of which 8 are taken by
    the file `filler`; none where this host lets nobody mount one."""
    unshare = ["unshare", "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-current-user"]
    script = ('mount -t tmpfs -o size=12m,mode=0777 none "$0" && truncate -s 64M "$0/disk" && '
              'dd if=/dev/zero of="$0/filler" bs=1M count=8 status=none && exec "$@"')
    words = [*unshare, "sh", "-c", script, path]
    return words if subprocess.run([*words, "true"], capture_output=True,
                                   timeout=PATIENCE).returncode == 0 else None


@test
def a_full_host_pauses_the_vm(place):
    small = os.path.join(place.path, "small")
    os.mkdir(small)
    within = in_a_small_place(small)
    if not within:
        return
    disk = os.path.join(small, "disk")
    with Managed(place, "--disk", disk, kernel=payload("writer"), within=within) as vm:
        console = Console(vm).wait(b"writer\n")
        type_at(vm, console, b"f")
        event = vm.watch.await_event("disk-full")
        expect(event["disk"] == disk and event["device"] == "scsi" and event["lun"] == 0 and
               disk in event["message"], event)
        expect(vm.watch.await_event("paused")["state"] == "paused", "not paused")
        figures = vm.call("Inspect")["parameters"]["tree"]["devices"]["scsi"]["figures"]
        expect(figures["channel@0"]["held"] == 1, figures["channel@0"])
        expect("error" not in vm.call("Resume"), "resume")
        vm.watch.await_event("resumed")
        vm.watch.await_event("disk-full")  # there is no more room than before
        vm.watch.await_event("paused")
        os.unlink(f"/proc/{vm.pid}/root{small}/filler")
        vm.call("Resume")
        console.wait(b"filled\n")
        type_at(vm, console, b"c")
        console.wait(b"whole\n")
        expect(b"cannot" not in console.text, console.text)
        expect(vm.call("Watch")["parameters"]["state"] == "running", "the state")
    # Who asks for it has the guest's write fail; and one that is paused is turned off in time.
    with Managed(place_in(place, "second"), "--disk", disk, "--on-full", "report",
                 kernel=payload("writer"), within=within) as vm:
        console = Console(vm).wait(b"writer\n")
        type_at(vm, console, b"f")
        console.wait(b"cannot be written\n")
    with Managed(place_in(place, "third"), "--disk", disk, kernel=payload("writer"),
                 within=within) as vm:
        type_at(vm, Console(vm).wait(b"writer\n"), b"f")
        vm.watch.await_event("paused")
        expect("error" not in vm.call("DetachDisk", lun=0), "the disk stayed")
        vm.call("Kill")
        event = vm.end_of_watch()
        expect(event["reason"] == "stopped" and not event["message"], event)


def place_in(place, name):
    path = os.path.join(place.path, name)
    os.mkdir(path)
    return Place(path)


OWNER, GROUP, WORKER = 4321, 4322, 4323


def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return {name: value.split() for name, value in (line.split(":") for line in file)}


@test
def an_owner_has_the_vm_and_no_more(place):
    kernel = place.file("kernel", open(payload("echo"), "rb").read())
    secret = place.file("secret.img")
    os.chmod(secret, 0o600)
    os.chmod(place.path, 0o755)
    own = ("--owner", f"{OWNER}:{GROUP}:{WORKER}", "--pulse", "200")
    if os.geteuid() != 0:
        vm = Managed(place, own=own, kernel=kernel, connect=False)
        expect(vm.process.wait(PATIENCE) == 1 and "only root" in vm.said(), vm.said())
        vm.drop()
        return
    kvm = os.open("/dev/kvm", os.O_RDWR)
    with Managed(place, own=own, kernel=kernel, kvm=kvm) as vm:
        has = status(vm.pid)
        expect(has["Uid"] == [str(OWNER)] * 4 and has["Gid"] == [str(GROUP)] * 4 and
               has["Groups"] == [str(WORKER)], has)
        expect(int(has["CapPrm"][0], 16) == 1 << 5, has["CapPrm"])  # CAP_KILL
        for name in ("CapInh", "CapEff", "CapAmb"):
            expect(int(has[name][0], 16) == 0, name, has[name])
        expect(str(OWNER) not in status(vm.worker)["Uid"], "the worker is the owner's")
        answer = vm.call("AttachDisk", path=secret)
        expect("you may not open it" in answer["parameters"]["message"], answer)
        os.kill(vm.worker, signal.SIGSTOP)
        expect("not answered" in vm.end_of_watch()["message"], "killed all the same")
    os.close(kvm)


if __name__ == "__main__":
    sys.exit(main())
