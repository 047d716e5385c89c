#!/usr/bin/env python3
"""The verbs for VMs that the daemon keeps; TAP on standard output.

    vm.py BULKHEAD PAYLOADS
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata

from harness import (BULKHEAD, PATIENCE, Place, Vm, expect, expect_failure, listen, main, payload,
                     test, wait_for)
from managed import Daemon


def settings(place, name):
    return place.reply("vm", "show", name)["vm"]["settings"]


@test
def a_vm_is_made_started_and_stopped(place):
    with Daemon(place):
        made = place.does("vm", "create", "web", "--kernel", payload("idle"), "--memory", "64M",
                          "--no-nic")
        expect(made.strip() == place.reply("vm", "show", "web")["vm"]["uuid"], made)
        expect_failure(place.run("vm", "create", "web", "--kernel", payload("idle")), 7, "web")
        expect_failure(place.run("vm", "pause", "web"), 6, "web")
        place.does("vm", "start", "web")
        expect(place.reply("vm", "list")["vms"][0]["state"] == "running", "not running")
        listed = place.does("vm", "list").splitlines()
        expect(listed[0].split() == ["NAME", "STATE", "FOR", "CPUS", "MEMORY", "REASON"], listed)
        expect(listed[1].split()[:2] == ["web", "running"], listed)
        expect_failure(place.run("vm", "start", "web"), 6, "web")
        expect_failure(place.run("vm", "remove", "web"), 6, "web")
        place.does("vm", "pause", "web")
        expect(place.reply("vm", "wait", "web", "--state", "paused")["vm"]["state"] == "paused",
               "wait")
        place.does("vm", "resume", "web")
        result = place.run("vm", "wait", "web", "--timeout", "1")
        expect_failure(result, 9, "web")
        # This guest has no driver that would shut it down.
        result = place.run("vm", "stop", "web", "--timeout", "1")
        expect(result.returncode in (1, 9) and "web" in result.stderr and
               "--turn-off" in result.stderr, result)
        stopped = place.run("vm", "stop", "web", "--turn-off", "--json")
        expect(stopped.returncode == 0 and "web: waiting for " in stopped.stderr, stopped)
        expect(json.loads(stopped.stdout)["state"] == "off", stopped)
        expect(place.does("vm", "wait", "web").strip() == "off", "wait")
        place.does("vm", "rename", "web", "sun")
        expect_failure(place.run("vm", "show", "web"), 5, "web", "vm list")
        place.does("vm", "remove", "sun")
        expect(place.reply("vm", "list") == {"vms": []}, "left")


@test
def what_is_not_there_is_said(place):
    expect_failure(place.run("vm", "list"), 10, place.socket("vmms"), "bulkhead-vmms")
    failed = place.run("vm", "list", "--json")
    expect(json.loads(failed.stdout)["reason"] == "no-daemon", failed)
    elsewhere = os.path.join(place.path, "else.sock")
    expect_failure(place.run("--socket", elsewhere, "vm", "list"), 10, elsewhere)
    expect_failure(place.run(f"--socket={elsewhere}", "vm", "list"), 10, elsewhere)
    expect_failure(place.run("--socket"), 2, "--socket")
    expect_failure(place.run("vm"), 2, "help vm")
    expect_failure(place.run("vm", "start"), 2, "NAME")
    expect_failure(place.run("vm", "start", "a", "b"), 2, '"b"')
    expect_failure(place.run("vm", "stop", "a", "--timeout", "x"), 2, "--timeout x")
    expect_failure(place.run("vm", "wait", "a", "--state", "of"), 2, "--state of")
    with Daemon(place):
        for verb in ("show", "start", "stop", "restart", "pause", "resume", "remove", "wait",
                     "console", "nmi", "inspect", "counters"):
            expect_failure(place.run("vm", verb, "nobody"), 5, "nobody")
        expect_failure(place.run("inspect", "nobody"), 5, "nobody", "vm list")


@test
def options_of_run_become_settings(place):
    kernel = place.file("kernel")
    place.file("root.vhdx")
    os.mkdir(os.path.join(place.path, "seed"))
    with Daemon(place):
        place.does("vm", "create", "all", "--cpus", "3", "--memory", "startup=128M,max=256M",
                   "--kernel", "kernel", "--append", "console=ttyS0", "--disk",
                   "./root.vhdx,ro,lun=3,iops=500", "--cdrom", "none", "--seed", "seed", "--nic",
                   "user,mac=00:15:5d:01:02:03", "--nic", "stream=net.sock", "--hvsock",
                   "unix:front", "--vnc", "unix:screen", "--integration", "kvp,file-copy",
                   "--stimer", "on", "--notes", "a - b", "--start-action", "if-ran,delay=7",
                   "--stop-action", "turn-off", "--on-crash", "restart,limit=2", "--on-reset",
                   "stop", "--cpu-weight", "300", "--cpu-cap", "150", "--memory-max", "1G",
                   "--access", f"user={os.getuid()}:operate", cwd=place.path)
        made = settings(place, "all")
        expect(made["processors"] == {"count": 3}, made)
        expect(made["memory"]["startup"] == 128 << 20 and made["memory"]["maximum"] == 256 << 20,
               made)
        expect(made["boot"]["kernel"] == kernel and made["boot"]["stimer"] is True, made)
        root, drive, seed = made["disks"]
        expect(root["path"] == os.path.join(place.path, "root.vhdx") and root["read_only"] and
               root["format"] == "vhdx" and root["lun"] == 3 and root["iops"] == 500, root)
        expect(drive["kind"] == "cdrom" and not drive.get("path"), drive)
        expect(seed["kind"] == "seed" and seed["path"] == os.path.join(place.path, "seed"), seed)
        user, stream = made["nics"]
        expect(user["kind"] == "user" and user["mac"] == "00:15:5d:01:02:03", user)
        expect(stream["path"] == os.path.join(place.path, "net.sock"), stream)
        expect(made["hvsock"]["path"] == os.path.join(place.path, "front"), made)
        expect(made["display"]["vnc"] == "unix:" + os.path.join(place.path, "screen"), made)
        on = {name for name, value in made["integration"].items() if value}
        expect(on == {"kvp", "copy"}, made)
        expect(made["notes"] == "a - b" and made["stop_action"] == "turn_off", made)
        expect(made["start_action"] == {"kind": "if_ran", "delay": 7}, made)
        expect(made["on_crash"]["restart"] is True and made["on_crash"]["limit"] == 2, made)
        expect(made["on_reset"] == "stop", made)
        expect(made["resources"]["cpu_weight"] == 300 and made["resources"]["cpu_cap"] == 150 and
               made["resources"]["memory_max"] == 1 << 30, made)
        expect(made["access"] == [{"user": str(os.getuid()), "right": "operate"}], made)


@test
def settings_come_from_a_file_too(place):
    with Daemon(place):
        place.does("vm", "create", "one", "--kernel", place.file("kernel"), "--notes", "first")
        copy = settings(place, "one")
        for member in ("uuid", "owner", "revision"):
            del copy[member]
        path = place.file("settings.json", json.dumps(copy).encode())
        place.does("vm", "create", "two", "--file", path, "--cpus", "2")
        two = settings(place, "two")
        expect(two["processors"] == {"count": 2} and two["notes"] == "first", two)
        done = subprocess.run([BULKHEAD, "vm", "create", "three", "--file", "-"], text=True,
                              input=json.dumps(copy), capture_output=True, timeout=PATIENCE,
                              env=place.environment)
        expect(done.returncode == 0, done)
        for text, word in ((b"{", "line 1"), (b"[]", "object"), (b'{"a": 1, "a": 2}', "duplicate"),
                           (b"\xff", "line 1")):
            expect_failure(place.run("vm", "create", "bad", "--file", place.file("bad", text)), 2,
                           word)
        copy["colour"] = "blue"
        path = place.file("settings.json", json.dumps(copy).encode())
        expect_failure(place.run("vm", "create", "bad", "--file", path), 2, "colour")
        expect(len(place.reply("vm", "list")["vms"]) == 3, "one too many")


@test
def settings_are_changed_one_by_one(place):
    with Daemon(place):
        place.does("vm", "create", "web", "--kernel", payload("idle"), "--memory", "64M",
                   "--no-nic")
        place.does("vm", "set", "web", "notes=1G of it", "memory.startup=128M",
                   "start_action.delay=7", "--stop-action", "turn-off", "--cpus", "2")
        made = settings(place, "web")
        expect(made["notes"] == "1G of it" and made["memory"] == {"startup": 128 << 20} and
               made["start_action"]["delay"] == 7 and made["stop_action"] == "turn_off" and
               made["processors"] == {"count": 2}, made)
        shown = dict(re.split(" {2,}", line, maxsplit=1)
                     for line in place.does("vm", "show", "web").splitlines())
        expect(shown["memory.startup"] == f"{128 << 20} (128M)" and shown["notes"] == "1G of it" and
               shown["start_action.delay"] == "7", shown)
        place.does("vm", "start", "web")
        said = place.does("vm", "set", "web", "notes=", "processors.count=1").splitlines()
        expect(said == ["notes: in force", "processors: waits for the VM's next start"], said)
        expect("notes" not in settings(place, "web"), "a default")
        revision = str(settings(place, "web")["revision"])
        place.does("vm", "set", "web", "notes=a", "--revision", revision)
        expect_failure(place.run("vm", "set", "web", "notes=b", "--revision", revision), 7, "web")
        for change in ("notes", "=x", "foo=1", "memory.startup=lots", "memory=1G", "uuid=x",
                       "processors.count=65", "boot.kernel=there"):
            expect_failure(place.run("vm", "set", "web", change), 2)
        expect_failure(place.run("vm", "set", "web"), 2, "KEY=VALUE")
        expect(settings(place, "web")["notes"] == "a", "half of it")


@test
def bad_options_make_no_vm(place):
    with Daemon(place):
        kernel = ("--kernel", place.file("kernel"))
        for words in (("--cpus", "0"), ("--memory", "1"), ("--start-action", "soon"),
                      ("--start-action", "always,delay=x"), ("--on-crash", "cry"),
                      ("--on-crash", "restart,limit=0"), ("--stop-action", ""),
                      ("--cpu-weight", "0"), ("--cpu-cap", "x"), ("--memory-max", "much"),
                      ("--access", "root"), ("--access", "user=:operate"),
                      ("--access", "user=me:own"), ("--console", "stdio"), ("--on-reset", "exit"),
                      ("--integration", "kvp=3.0"), ("--memory", "startup=1G,protocol=1.0"),
                      ("--name", "x"), ("--trace", "vmbus=x")):
            expect_failure(place.run("vm", "create", "x", *kernel, *words), 2, words[0])
        expect_failure(place.run("vm", "create", "x"), 2, "--kernel")
        expect_failure(place.run("vm", "create", *kernel), 2, "NAME")
        expect_failure(place.run("vm", "create", "a/b", *kernel), 2, "a/b")
        expect(place.reply("vm", "list") == {"vms": []}, "one was made")


@test
def one_resolver_finds_both_kinds_of_vm(place):
    with Daemon(place), Vm(place, "--console", "none", name="first"):
        expect_failure(place.run("vm", "show", "first"), 5, "first")
        for name in ("first", "second"):
            place.does("vm", "create", name, "--kernel", payload("idle"), "--memory", "64M",
                       "--no-nic")
            place.does("vm", "start", name)
        expect(place.reply("inspect", "second")["name"] == "second", "the daemon's")
        place.does("pause", "second")
        expect(place.reply("vm", "show", "second")["vm"]["state"] == "paused", "pause")
        place.does("resume", "second")
        expect(place.reply("memory", "show", "second")["startup"] == 64 << 20, "memory")
        expect(len(place.reply("service", "second")["services"]) > 3, "service")
        expect_failure(place.run("inspect", "first"), 7, "first", "bulkhead vm", "UUID")
        uuid = place.reply("vm", "show", "first")["vm"]["uuid"]
        expect(place.reply("inspect", uuid)["memory"] == 64 << 20, "by UUID")
        expect(place.reply("vm", "inspect", "first")["memory"] == 64 << 20, "by vm")
    expect_failure(place.run("run", "--name", "vmms", "--kernel", payload("idle")), 1, "vmms")


@test
def disks_and_nics_come_and_go(place):
    with Daemon(place):
        disk, medium = place.file("data.img"), place.file("data.iso", b"x" * 4096)
        place.does("vm", "create", "web", "--kernel", payload("idle"), "--memory", "64M",
                   "--no-nic")
        for state in ("off", "running"):
            if state == "running":
                place.does("vm", "start", "web")
            made = place.reply("disk", "attach", "web", "data.img,iops=100", cwd=place.path)
            expect(made["disk"]["path"] == disk and made["waiting"] is False, made)
            expect(place.does("disk", "set", "web", "data.img", "--iops", "none",
                              cwd=place.path) == "disk0\n", "by its path")
            place.does("disk", "set", "web", "0", "--bandwidth", "1M")
            listed = place.does("disk", "list", "web").splitlines()
            expect(len(listed) == 2 and listed[1].endswith(disk) and "bandwidth=1M" in listed[1]
                   and "iops" not in listed[1], listed)
            place.does("disk", "detach", "web", "disk0")
            expect(place.reply("disk", "list", "web") == {"disks": []}, state)
        shown = place.run("disk", "attach", "web", medium, "--cdrom")
        expect(shown.stdout == "disk0\n" and "next start" in shown.stderr, shown)
        expect("disks.disk0" in place.does("vm", "show", "web"), "vm show")
        expect(place.reply("disk", "eject", "web", "0")["waiting"] is True, "eject")
        place.does("disk", "insert", "web", "disk0", medium)
        place.does("vm", "stop", "web", "--turn-off")
        made = place.reply("nic", "attach", "web", "user,mac=00:15:5d:01:02:03")
        expect(made["nic"]["name"] == "nic0", made)
        place.does("nic", "set", "web", "00:15:5D:01:02:03", "--bandwidth", "10M")
        expect(place.reply("nic", "list", "web")["nics"][0]["bandwidth"] == 10**7, "nic set")
        place.does("nic", "detach", "web", "nic0")
        for words in (("disk", "detach", "web", "disk9"), ("disk", "set", "web", "9", "--iops", "9"),
                      ("nic", "detach", "web", "eth0")):
            expect_failure(place.run(*words), 5, "web", words[3], "list")
        for words in (("disk", "attach", "web", disk, "--controller", "scsi1"),
                      ("disk", "attach", "web", disk + ",lun=x"), ("nic", "attach", "web", "what")):
            expect_failure(place.run(*words), 2)


@test
def controllers_come_and_go(place):
    def devices():
        return [name for name in place.reply("inspect", "web")["devices"]
                if name.startswith("scsi")]

    with Daemon(place):
        disk, more = place.file("data.img", bytes(4096)), place.file("more.img", bytes(4096))
        place.does("vm", "create", "web", "--kernel", payload("idle"), "--memory", "64M",
                   "--no-nic", "--controllers", "2", "--disk", disk + ",controller=scsi1")
        for state in ("off", "running"):
            if state == "running":
                place.does("vm", "start", "web")
                expect(devices() == ["scsi", "scsi@scsi1"], devices())
            made = place.reply("controller", "attach", "web")
            expect(made == {"controller": "scsi2", "waiting": False}, made)
            made = place.reply("disk", "attach", "web", more, "--controller", "scsi2")["disk"]
            expect((made["lun"], made["controller"]) == (0, "scsi2"), made)
            listed = [line.split()[:3] for line in place.does("disk", "list", "web").splitlines()]
            expect(listed[1:] == [["disk0", "disk", "scsi1:0"], ["disk1", "disk", "scsi2:0"]],
                   listed)
            for identity, said in (("scsi", "stays"), ("scsi1", "scsi2 first"),
                                   ("scsi2", "detach them first"), ("scsi9", "scsi9")):
                result = place.run("controller", "detach", "web", identity)
                expect(result.returncode != 0 and said in result.stderr, result)
            expect_failure(place.run("disk", "set", "web", "0", "--iops", "9"), 5, "web", "list")
            place.does("disk", "set", "web", "0", "--controller", "scsi2", "--iops", "9")
            if state == "running":
                expect(devices() == ["scsi", "scsi@scsi1", "scsi@scsi2"], devices())
                metrics = place.does("metrics")
                for name in ("disk0", "disk1"):
                    expect(f'bulkhead_vm_disk_size_bytes{{vm="web",disk="{name}"}} 4096' in
                           metrics, metrics)
            place.does("disk", "detach", "web", "0", "--controller", "scsi2")
            place.does("controller", "detach", "web", "scsi2")
            expect(place.reply("vm", "show", "web")["vm"]["settings"]["controllers"] == 2, state)
        expect(devices() == ["scsi", "scsi@scsi1"], devices())
        for _ in range(6):
            place.does("controller", "attach", "web")
        expect_failure(place.run("controller", "attach", "web"), 2, "8 storage controllers")
        place.does("vm", "set", "web", "controllers=2")
        expect(devices() == ["scsi", "scsi@scsi1"], devices())
        place.does("vm", "set", "web", "controllers=1", "disks=[]")
        expect(devices() == ["scsi"], devices())


def hang_up(listener):
    while True:
        client, _ = listener.accept()
        client.close()


@test
def a_daemon_that_cannot_answer_is_told_of(place):
    os.makedirs(os.path.dirname(place.socket("vmms")))
    threading.Thread(target=hang_up, args=[listen(place.socket("vmms"))], daemon=True).start()
    expect_failure(place.run("inspect", "web"), 1, place.socket("vmms"), "try again")
    expect_failure(place.run("disk", "detach", "web", "0"), 1, "try again")
    with Vm(place, "--console", "none", name="first"):  # which needs none
        expect(place.reply("inspect", "first")["name"] == "first", "a VM of run")


def window(columns):
    """A terminal of so many columns: both its ends."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs


def columns_of(text):
    """How many a terminal takes for it."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@test
def columns_fit_the_terminal(place):
    name = "a-rather-long-name-for-a-virtual-machine"
    disk = place.file("\u6f22\u5b57" * 20)
    with Daemon(place):
        place.does("vm", "create", name, "--kernel", place.file("kernel"), "--disk", disk)
        for words, end in ((("vm", "list"), "off"), (("disk", "list", name), "\u2026")):
            for columns in (60, 42, 12, 1):
                lines = in_terminal(place, *words, columns=columns).splitlines()
                expect(len(lines) == 2 and all(columns_of(line) <= columns for line in lines), lines)
                expect(columns < 42 or end in lines[1], lines)
        expect("\u2026" in in_terminal(place, "vm", "list", columns=42), "nothing gave way")
        piped = place.does("vm", "list").splitlines()[1]
        expect(piped.split()[:2] == [name, "off"], piped)
        expect(disk in place.does("disk", "list", name), "cut in a pipe")


def in_terminal(place, *words, columns=80):
    """What the command writes to a terminal of so many columns."""
    ours, theirs = window(columns)
    process = subprocess.Popen([BULKHEAD, *words], stdin=subprocess.DEVNULL, stdout=theirs,
                               stderr=theirs, env=place.environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # all have closed it
            break
        seen += part
    os.close(ours)
    expect(process.wait(PATIENCE) == 0, process.returncode, seen)
    return seen.decode()


@test
def long_work_shows_a_bar(place):
    image = place.file("disk.raw", os.urandom(4 << 20))
    shown = in_terminal(place, "disk", "convert", image, os.path.join(place.path, "disk.vhdx"))
    expect("[####" in shown and "100 %" in shown, shown)
    bars = shown.rpartition("\r\x1b[K")[0]
    expect("bytes" not in bars and "bytes" in shown, shown)
    done = place.run("disk", "convert", image, os.path.join(place.path, "disk.vhd"))
    expect(done.returncode == 0 and not done.stderr, "a bar where nobody looks")


class Copies(threading.Thread):
    """A daemon that only copies files: it tells of two thirds, then of the whole."""

    def __init__(self, place):
        super().__init__(daemon=True)
        os.makedirs(os.path.dirname(place.socket("vmms")))
        self.listener = listen(place.socket("vmms"))
        self.asked = None

    def run(self):
        while not self.asked:
            client, _ = self.listener.accept()
            with client, client.makefile("rb") as calls:
                call = json.loads(b"".join(iter(lambda: calls.read(1), b"\0")))
                if call["method"].endswith(".GetVM"):
                    client.sendall(b'{"parameters": {"vm": {}}}\0')
                    continue
                self.asked = call
                client.sendall(b'{"parameters": {"bytes": 2097152, "size": 3145728},'
                               b' "continues": true}\0{"parameters": {"bytes": 3145728}}\0')


@test
def a_copy_into_a_guest_shows_a_bar(place):
    copies = Copies(place)
    copies.start()
    file = place.file("file")
    shown = in_terminal(place, "copy-file", "web", file, "/file")
    expect(copies.asked["more"] and copies.asked["parameters"]["source"] == file, copies.asked)
    expect("web [###" in shown and "66 % of 3 MiB" in shown, shown)
    expect(shown.endswith("\r\x1b[K3145728 bytes copied\r\n"), shown)


class Terminal:
    """A console in a terminal of its own."""

    def __init__(self, place, *words):
        self.ours, theirs = window(80)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.seen = b""
        self.process = subprocess.Popen(
            [BULKHEAD, "vm", "console", *words], stdin=theirs, stdout=theirs, stderr=theirs,
            env=place.environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        # Until then the terminal itself echoes what is typed.
        wait_for(lambda: termios.tcgetattr(theirs) != self.before, "the raw terminal")

    def until(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], max(0, end - time.monotonic()))
            expect(ready, f"{text} did not come: {self.seen[-2000:]}")
            self.seen += os.read(self.ours, 65536)

    def type(self, text):
        os.write(self.ours, text)

    def ends(self, code):
        # The terminal is read until then, or a console that says much would wait for room.
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            expect(time.monotonic() < end, f"it stays: {self.seen[-2000:]}")
            if select.select([self.ours], [], [], 0.05)[0]:
                self.seen += os.read(self.ours, 65536)
        expect(self.process.returncode == code, self.process.returncode, self.seen[-2000:])
        expect(termios.tcgetattr(self.theirs) == self.before, "the terminal is not as it was")
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self.ours)
        os.close(self.theirs)


def start_echo(place, name="web"):
    place.does("vm", "create", name, "--kernel", payload("echo"), "--memory", "64M",
               "--no-nic")
    place.does("vm", "start", name)


@test
def a_console_is_for_many_readers_and_one_writer(place):
    with Daemon(place):
        start_echo(place)
        first = Terminal(place, "web")
        first.type(b"hello\n")
        first.until(b"hello")
        second = Terminal(place, "web")
        second.until(b"read-only: another terminal writes")
        second.until(b"hello")  # what was before it came
        first.type(b"both\n")
        second.until(b"both")
        looker = Terminal(place, "web", "--read-only")
        looker.until(b"both")
        first.type(b"\x1d")
        first.ends(0)
        second.until(b"you write")
        second.type(b"again\n")
        second.until(b"again")
        expect(place.reply("vm", "show", "web")["vm"]["state"] == "running", "it ended the VM")
        second.process.send_signal(signal.SIGTERM)
        second.ends(128 + signal.SIGTERM)
        place.does("vm", "stop", "web", "--turn-off")
        looker.until(b"the VM has ended")
        looker.ends(0)


@test
def a_console_ends_with_the_daemon_and_not_the_vm(place):
    with Daemon(place) as daemon:
        start_echo(place)
        terminal = Terminal(place, "web")
        terminal.type(b"hello\n")
        terminal.until(b"hello")
        daemon.kill()
        terminal.until(b"attach again")
        terminal.ends(1)
    with Daemon(place):
        terminal = Terminal(place, "web")
        terminal.until(b"hello")
        terminal.process.send_signal(signal.SIGHUP)
        terminal.ends(128 + signal.SIGHUP)


@test
def a_console_works_in_pipes(place):
    with Daemon(place):
        start_echo(place)
        done = place.run("vm", "console", "web", "--no-follow", input="one\ntwo\n", stdin=None)
        expect(done.returncode == 0 and not done.stderr, done)
        wait_for(lambda: "two" in place.run("vm", "console", "web", "--no-follow").stdout,
                 "the echo of a pipe")
        follower = subprocess.Popen([BULKHEAD, "vm", "console", "web"], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                    env=place.environment)
        expect("one" in follower.stdout.readline() + follower.stdout.readline(), "follow")
        place.does("vm", "stop", "web", "--turn-off")
        _, said = follower.communicate(timeout=PATIENCE)
        expect(follower.returncode == 0 and "web: the VM has ended" in said, said)
        expect_failure(place.run("vm", "console", "web", "--no-follow"), 6, "web")


@test
def events_are_one_object_a_line(place):
    with Daemon(place):
        place.does("vm", "create", "web", "--kernel", payload("idle"), "--memory", "64M",
                   "--no-nic")
        place.does("vm", "create", "other", "--kernel", payload("idle"), "--memory", "64M",
                   "--no-nic")
        follower = subprocess.Popen(
            [BULKHEAD, "events", "--follow", "--vm", "web", "--history", "5"],
            stdout=subprocess.PIPE, text=True, env=place.environment)
        first = json.loads(follower.stdout.readline())
        expect(first["event"] == "created" and first["name"] == "web", first)
        place.does("vm", "start", "web")
        states = []
        while "running" not in states:
            event = json.loads(follower.stdout.readline())
            expect(event["name"] == "web" and event["time"] >= first["time"], event)
            states.append(event.get("details", {}).get("state"))
        follower.kill()
        follower.communicate(timeout=PATIENCE)
        past = [json.loads(line) for line in place.does("events").splitlines()]
        expect([event["name"] for event in past[:2]] == ["web", "other"], past)
        numbers = [event["sequence"] for event in past]
        expect(numbers == sorted(set(numbers)), numbers)
        expect(len(place.does("events", "--history", "1").splitlines()) == 1, "--history 1")
        expect_failure(place.run("events", "--history", "x"), 2, "--history x")
        follower = subprocess.Popen(
            [BULKHEAD, "events", "--follow", "--history", "1"], stdout=subprocess.PIPE, text=True,
            env=place.environment)
        expect(json.loads(follower.stdout.readline()), "the last one")
        follower.stdout.close()
        expect(follower.wait(PATIENCE) == 0, "it waits for an event though nobody reads")
        expect_failure(place.run("events", "--follow", "--vm", "nobody"), 5, "nobody")


sys.exit(main())
