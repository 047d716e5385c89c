#!/usr/bin/env python3
"""VMs that are saved and go on, on this machine's KVM, and what comes between; TAP on standard output.

    saved.py BULKHEAD PAYLOADS
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys

from harness import (BULKHEAD, PATIENCE, Skip, Vm, call, expect, expect_failure, main, need_kvm,
                     payload, test, wait_for)


class Pc(Vm):
    """A Generation 1 VM, whose firmware finds nothing to boot."""

    def __init__(self, place, *options):
        need_kvm()
        super().__init__(place, "--memory", "64M", "--console", "none", *options,
                         boot=("--generation", "1"))

    def shows(self, words):
        wait_for(lambda: words in self.place.run("screenshot", self.name, "--text").stdout, words)
        return self.place.does("screenshot", self.name, "--text")


def saved_in(place):
    return os.path.join(place.path, "saved")


def save(place, vm):
    place.does("save", vm.name, saved_in(place))
    expect(vm.wait() == 0 and not vm.said(), vm.said())
    expect(sorted(os.listdir(saved_in(place))) == ["memory", "state"], "two files")


@contextlib.contextmanager
def saving(place, vm, directory=None):
    """A call that waits for a worker which is stopped; how it ends is known after the block."""
    directory = directory or saved_in(place)
    client = subprocess.Popen([BULKHEAD, "save", vm.name, directory], env=place.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: os.path.exists(os.path.join(directory, "state.new")), "the files")
        yield client
        output, words = client.communicate(timeout=PATIENCE)
        client.result = subprocess.CompletedProcess(client.args, client.returncode, output, words)
    finally:
        client.kill()
        client.wait(PATIENCE)


def heard(place):
    """The supervisor's loop has seen what came before."""
    for _ in range(2):
        call(place.socket("vm"), "org.varlink.service.GetInfo")


@contextlib.contextmanager
def asked(place, method):
    """A connection with a call that the supervisor has taken."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(place.socket("vm"))
        client.sendall(json.dumps({"method": "io.bulkhead.VM." + method}).encode() + b"\0")
        heard(place)
        yield client


def refused(place, *options, words):
    """A VM that does not start from the saved state, which stays."""
    result = place.run("run", "--name", "vm", *options, "--console", "none",
                       "--restore", saved_in(place), timeout=20)
    expect_failure(result, 1, *words)
    expect(sorted(os.listdir(saved_in(place))) == ["memory", "state"], "the saved state is gone")


@test
def a_screen_is_there_again(place):
    with Pc(place) as vm:
        before = vm.shows("No bootable device")
        save(place, vm)
    for _ in range(2):
        with Pc(place, "--restore", saved_in(place)) as vm:
            expect(os.listdir(saved_in(place)) == [], "the saved state is still there")
            expect(vm.shows("No bootable device") == before, "another screen")
            expect(vm.tree()["state"] == "running", "it does not run")
            save(place, vm)


@test
def a_menu_goes_on(place):
    options = ("--boot-menu", "60", "--disk",
               place.file("disk.img", bytes(1 << 20)))
    with Pc(place, *options) as vm:
        vm.shows("Press ESC for boot menu")
        save(place, vm)
    with Pc(place, *options, "--restore", saved_in(place)) as vm:
        vm.shows("Press ESC for boot menu")
        place.does("send-key", "vm", "esc")
        before = vm.shows("(1 MiBytes)")
        save(place, vm)
    with Pc(place, *options, "--restore", saved_in(place)) as vm:
        after = vm.shows("(1 MiBytes)")
        expect(after == before, f"another menu: {before!r} {after!r}")
        place.does("send-key", "vm", "1")
        vm.shows("Booting from Hard Disk")
        # From the beginning once more.
        place.does("send-key", "vm", "ctrl-alt-delete")
        wait_for(lambda: "Booting from" not in place.run("screenshot", "vm", "--text").stdout,
                 "a reset")
        vm.shows("Press ESC for boot menu")


@test
def a_paused_vm_comes_back_running(place):
    with Vm(place) as vm:
        place.does("pause", "vm")
        save(place, vm)
    with Vm(place, "--restore", saved_in(place)) as vm:
        expect(vm.tree()["state"] == "running", "it does not run")


@test
def the_end_is_told(place):
    with subprocess.Popen([BULKHEAD, "run", "--name", "vm", "--kernel", payload("idle"),
                           "--console", "none", "--json"], env=place.environment, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        wait_for(lambda: place.run("inspect", "vm").returncode == 0, "the VM")
        expect(place.reply("save", "vm", "saved", cwd=place.path) == {}, "an empty object")
        outcome = json.loads(process.communicate(timeout=PATIENCE)[0])
        expect(process.returncode == outcome["exit"] == 0 and outcome["reason"] == "saved" and
               not outcome["message"], outcome)
    with Vm(place, "--restore", "saved"):
        pass


@test
def a_place_must_be_fit(place):
    with Vm(place) as vm:
        before = vm.descriptors()
        full = os.path.dirname(place.file("file"))
        expect_failure(place.run("save", "vm", full), 1, full, "not empty", "empty directory")
        expect_failure(place.run("save", "vm", full + "/file"), 1, "/file", "give a directory")
        expect_failure(place.run("save", "vm", full + "/none/at/all"), 1, "/none/at/all",
                       "another place")
        expect_failure(place.run("save", "vm"), 2, "DIRECTORY")
        expect_failure(place.run("save", "other", full), 5, "other")
        expect(vm.tree()["state"] == "running" and vm.descriptors() == before, "as before")
    for words in (["--restore", full], ["--restore", full + "/none"],
                  ["--restore", full + "/file"]):
        expect_failure(place.run("run", "--kernel", payload("idle"), *words), 1, "--restore",
                       "give the directory")
    expect_failure(place.run("run", "--kernel", payload("idle"), "--restore", ""), 2, "--restore")


@test
def other_options_are_refused(place):
    idle = payload("idle")
    with Vm(place, "--memory", "64M", "--cpus", "2") as vm:
        save(place, vm)
    disk = place.file("disk.img")
    same = ("--kernel", idle, "--memory", "64M", "--cpus", "2")
    for options, words in (
            (("--kernel", idle, "--memory", "64M"), ["processors", "another number"]),
            (("--kernel", idle, "--memory", "128M", "--cpus", "2"), ["amount of memory"]),
            ((*same, "--disk", disk), ["device"]),
            ((*same, "--nic", "user"), ["device"]),
            ((*same, "--video", "800x600"), ["device"]),
            (("--kernel", idle, "--memory", "startup=64M,max=256M", "--cpus", "2"), ["maximum"]),
            (("--generation", "1", "--memory", "64M", "--cpus", "2"), ["Generation 2"])):
        refused(place, *options, words=["start the VM with what it had", *words])
    with Vm(place, "--memory", "64M", "--cpus", "2", "--restore", saved_in(place)):
        pass


@test
def other_disks_are_refused(place):
    first, second = place.file("a.img"), place.file("b.img", bytes(1024))
    with Vm(place, "--disk", first) as vm:
        save(place, vm)
    for disk in (first + ",lun=3", second):
        refused(place, "--kernel", payload("idle"), "--disk", disk, words=["its device scsi"])
    with Vm(place, "--disk", first, "--restore", saved_in(place)):
        pass


@test
def damage_is_refused(place):
    with Vm(place, "--memory", "64M") as vm:
        save(place, vm)
    same = ("--kernel", payload("idle"), "--memory", "64M")
    for name in ("state", "memory"):
        path = os.path.join(saved_in(place), name)
        with open(path, "rb") as file:
            whole = file.read()
        for content in (b"", whole[:len(whole) // 2], whole[:-1], b"x" * 4096,
                        os.urandom(len(whole)) if name == "state" else whole + b"more"):
            with open(path, "wb") as file:
                file.write(content)
            refused(place, *same, words=["saved state"])
        os.unlink(path)
        os.mkdir(path)
        refused(place, *same, words=["saved state"])
        os.rmdir(path)
        with open(path, "wb") as file:
            file.write(whole)
    with Vm(place, "--memory", "64M", "--restore", saved_in(place)):
        pass


@test
def a_state_is_used_once(place):
    with Vm(place) as vm:
        save(place, vm)
    with Vm(place, "--restore", saved_in(place)):
        result = place.run("run", "--name", "second", "--kernel", payload("idle"), "--restore",
                           saved_in(place))
        expect_failure(result, 1, "--restore", "no saved VM")


@test
def one_at_a_time(place):
    with Vm(place) as vm, contextlib.ExitStack() as stack:
        os.kill(vm.worker(), signal.SIGSTOP)
        other = os.path.join(place.path, "other")
        first = stack.enter_context(saving(place, vm))
        expect_failure(place.run("save", "vm", other), 1, "being saved already")
        with asked(place, "Pause") as pause, asked(place, "Resume") as resume:
            os.kill(vm.worker(), signal.SIGCONT)
            for client in (pause, resume):
                answer = client.recv(4096)
                expect(b"it is saving" in answer, answer)
        expect(vm.wait() == 0, vm.said())
    expect(first.result.returncode == 0, first.result)
    expect(not os.path.exists(other), "the other directory is there")
    with Vm(place, "--restore", saved_in(place)):
        pass


@test
def a_signal_ends_a_vm_that_is_saved(place):
    for number in (signal.SIGTERM, signal.SIGINT):
        with Vm(place) as vm:
            os.kill(vm.worker(), signal.SIGSTOP)
            with saving(place, vm) as client:
                vm.signal(number)
                heard(place)
                os.kill(vm.worker(), signal.SIGCONT)
                expect(vm.wait() == 128 + number, vm.said())
            expect_failure(client.result, 1, "ending")
            expect(not os.path.exists(saved_in(place)), "something is left")


@test
def who_is_killed_leaves_no_saved_vm(place):
    with Vm(place) as vm:
        worker = vm.worker()
        os.kill(worker, signal.SIGSTOP)
        with saving(place, vm) as client:
            os.kill(worker, signal.SIGKILL)
            expect(vm.wait() == 1 and "signal 9" in vm.said(), vm.said())
        expect_failure(client.result, 1, "ended")
        expect(not os.path.exists(saved_in(place)), "something is left")
    with Vm(place) as vm:
        worker = vm.worker()
        os.kill(worker, signal.SIGSTOP)
        with saving(place, vm) as client:
            vm.signal(signal.SIGKILL)
            os.kill(worker, signal.SIGCONT)
            vm.wait()
        expect(client.result.returncode != 0, client.result)
    wait_for(lambda: not os.path.exists(f"/proc/{worker}"), "the worker's end")
    expect("state" not in os.listdir(saved_in(place)), "it looks like a saved VM")
    result = place.run("run", "--kernel", payload("idle"), "--restore", saved_in(place))
    expect_failure(result, 1, "--restore", "no saved VM")


@test
def a_client_that_goes_changes_nothing(place):
    with Vm(place) as vm:
        os.kill(vm.worker(), signal.SIGSTOP)
        with saving(place, vm) as client:
            client.kill()
            client.wait(PATIENCE)
            os.kill(vm.worker(), signal.SIGCONT)
            expect(vm.wait() == 0, vm.said())
    with Vm(place, "--restore", saved_in(place)):
        pass


@contextlib.contextmanager
def small_file_system(path, size):
    libc = ctypes.CDLL(None, use_errno=True)
    os.mkdir(path)
    if libc.mount(b"none", path.encode(), b"tmpfs", 0, f"size={size}".encode()):
        raise Skip(f"no mount: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        libc.umount2(path.encode(), 2)  # MNT_DETACH


@test
def a_full_disk_stops_no_vm(place):
    small = os.path.join(place.path, "small")
    with Pc(place) as vm:
        before = vm.shows("No bootable device")
        for size in ("64k", "300k"):
            with small_file_system(small, size):
                os.mkdir(small + "/mine")
                for directory in ("saved", "mine"):
                    expect_failure(place.run("save", "vm", f"{small}/{directory}"), 1,
                                   "cannot be written", "free some")
                expect(vm.tree()["state"] == "running", "it does not run")
                expect(os.listdir(small) == ["mine"] and not os.listdir(small + "/mine"),
                       "something is left")
            os.rmdir(small)
        place.does("pause", "vm")
        with small_file_system(small, "64k"):
            expect_failure(place.run("save", "vm", small), 1, "cannot be written")
        expect(vm.tree()["state"] == "paused", "it runs")
        place.does("resume", "vm")
        save(place, vm)
    with Pc(place, "--restore", saved_in(place)) as vm:
        expect(vm.shows("No bootable device") == before, "another screen")


if __name__ == "__main__":
    sys.exit(main())
