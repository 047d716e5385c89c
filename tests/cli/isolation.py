#!/usr/bin/env python3
"""What a running VM's processes are to the host, as /proc tells it; TAP on standard output.

    isolation.py BULKHEAD PAYLOADS
"""

import os
import signal
import sys

from harness import Vm, expect, main, open_files, payload, test, wait_for

UID_FIRST = 0x70000000  # src/worker/sandbox_user.h
PID_MAX = 1 << 22  # the kernel's PID_MAX_LIMIT
NAMESPACES = ["user", "pid", "net", "ipc", "uts", "cgroup", "mnt"]
# What a confined process may hold of files: nothing that it could go on from.
HARMLESS = ("anon_inode:", "socket:", "pipe:", "/memfd:", "/dev/kvm", "/dev/null", "/dev/zero")
ROOT = os.geteuid() == 0


def status(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


def namespace(pid, name):
    return os.readlink(f"/proc/{pid}/ns/{name}")


def expect_confined(pid, measures):
    """measures: those that the process itself says are in force."""
    found = status(pid)
    expect(measures["capabilities"] == measures["seccomp"] == "yes", measures)
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]:
        expect(int(found[kind], 16) == 0, kind, found)
    expect(found["NoNewPrivs"] == "1" and found["Seccomp"] == "2", found)
    expect(not found["Groups"].strip(), found["Groups"])
    users = set(found["Uid"].split() + found["Gid"].split())
    if ROOT:
        expect(measures["user"] == "yes" and users == {str(UID_FIRST + pid)}, users)
        expect(pid < PID_MAX, pid)
    if measures["pid-namespace"] == "yes":
        expect(found["NSpid"].split() == [str(pid), "1"], found["NSpid"])
    apart = {"user": "user-namespace", "pid": "pid-namespace"}
    for name in NAMESPACES:
        if measures[apart.get(name, "namespaces")] == "yes":
            expect(namespace(pid, name) != namespace("self", name), name)
    if measures["root"] == "yes":
        expect(os.listdir(f"/proc/{pid}/root") == [], "its root is not empty")
    for number, what in open_files(pid).items() if ROOT else []:
        expect(what.startswith((*HARMLESS, payload("idle"))), number, what)


def measures_of(vm):
    return vm.tree()["sandbox"]


@test
def a_worker_can_do_nothing_to_the_host(place):
    with Vm(place) as vm:
        expect_confined(vm.worker(), measures_of(vm))


@test
def every_measure_that_the_host_has_is_in_force(place):
    checks = {check["name"]: check for check in place.reply("doctor")["checks"]}
    with Vm(place) as vm:
        measures = measures_of(vm)
    if checks["namespaces"]["ok"]:
        for name in ["user-namespace", "pid-namespace", "namespaces", "root"]:
            expect(measures[name] == "yes", name, measures)
    expect(measures["landlock"] == ("yes" if checks["landlock"]["ok"] else "no"), measures)


@test
def workers_have_nothing_in_common(place):
    with Vm(place, name="one") as one, Vm(place, name="two") as two:
        pids = [one.worker(), two.worker()]
        measures = measures_of(two)
        if ROOT:
            expect(len({status(pid)["Uid"] for pid in pids}) == 2, pids)
        for name in NAMESPACES if measures["namespaces"] == "yes" else []:
            expect(len({namespace(pid, name) for pid in pids}) == 2, name)


@test
def a_viewer_is_confined_as_a_worker_is(place):
    with Vm(place, "--vnc", f"unix:{place.path}/vnc") as vm:
        helper, = vm.helpers()
        wait_for(lambda: status(helper)["Seccomp"] == "2", "the viewer's sandbox")
        expect_confined(helper, measures_of(vm))


@test
def what_is_no_disk_is_not_opened(place):
    """A device may act when it is opened, and here somebody waits to write to a pipe."""
    path = os.path.join(place.path, "pipe")
    os.mkfifo(path)
    writer = os.fork()
    if not writer:
        os.close(os.open(path, os.O_WRONLY))
        os._exit(0)
    try:
        result = place.run("run", "--kernel", payload("idle"), "--disk", path)
        expect(result.returncode == 1 and "neither a regular file" in result.stderr, result)
        result = place.run("run", "--kernel", path)
        expect(result.returncode == 1 and "not a regular file" in result.stderr, result)
        expect(os.waitpid(writer, os.WNOHANG) == (0, 0), "somebody opened it")
    finally:
        os.kill(writer, signal.SIGKILL)


@test
def a_killed_worker_is_told_of_by_its_signal(place):
    with Vm(place) as vm:
        os.kill(vm.worker(), signal.SIGKILL)
        code = vm.wait()
        expect(code == 1 and "signal 9" in vm.said(), code, vm.said())


@test
def a_worker_outlives_no_supervisor(place):
    with Vm(place) as vm:
        worker = vm.worker()
        vm.signal(signal.SIGKILL)
        vm.wait()
        wait_for(lambda: not os.path.exists(f"/proc/{worker}") or
                 status(worker)["State"].startswith("Z"), "the worker's end")


sys.exit(main())
