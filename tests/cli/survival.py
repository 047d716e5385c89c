#!/usr/bin/env python3
"""What outlives the daemon, and what becomes of VMs whose processes die or hang; TAP on standard output.

    survival.py BULKHEAD PAYLOADS
"""

import base64
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

from daemon import VMMS, Apart, Client, Daemon, start_time
from harness import PATIENCE, Skip, expect, main, test, wait_for


PR_SET_CHILD_SUBREAPER = 36


def gone(pid):
    return start_time(pid) is None


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(word) for word in file.read().split()]


def snapshot(path):
    """All that is below but for the daemon's own sockets: which file, and when it was changed."""
    found = {}
    for top, folders, files in os.walk(path):
        for name in folders + files:
            status = os.lstat(os.path.join(top, name))
            if name not in ("vmms.sock", "public.sock"):
                found[os.path.join(top, name)] = (status.st_ino, status.st_mtime_ns)
    return found


class Console:
    """A guest's console at the VM's own socket, which needs no daemon."""

    def __init__(self, daemon, vm):
        self.path = os.path.join(daemon.run, "vms", vm["uuid"], "vm.sock")
        self.reader = Client(self.path)
        self.send(self.reader, "OpenConsole", more=True)
        self.text = b""
        self.session = self.read()["session"]

    @staticmethod
    def send(client, method, more=False, **parameters):
        message = {"method": "io.bulkhead.VM." + method, "parameters": parameters, "more": more}
        client.socket.sendall(json.dumps(message).encode() + b"\0")

    def read(self):
        reply = self.reader.reply()
        self.text += base64.b64decode(reply["data"])
        return reply

    def type(self, text):
        with Client(self.path) as client:
            self.send(client, "WriteConsole", session=self.session,
                      data=base64.b64encode(text).decode())
            client.reply()

    def wait(self, text, count=1):
        while self.text.count(text) < count:
            self.read()

    def close(self):
        self.reader.socket.close()


def next_event(events, name, vm=None):
    while True:
        event = events.reply()
        if event["event"] == name and vm in (None, event["name"]):
            return event


@test
def storms_of_kills_end_nobody_else(place):
    """Of the daemon while guests write, and of the processes of other VMs, with and without it."""
    rounds = 6
    with Daemon(place) as daemon:
        vms, consoles = {}, []
        for name in ("steady0", "steady1"):
            image = place.file(name + ".img", b"\0" * (16 << 20))
            daemon.create(name, kernel="writer", disks=[{"kind": "disk", "path": image}])
            vms[name] = daemon.start_vm(name) and daemon.vm(name)
            consoles.append(Console(daemon, vms[name]))
            consoles[-1].wait(b"writer\n")
        for name in ("worker0", "worker1", "supervisor0", "supervisor1"):
            daemon.create(name)
            vms[name] = daemon.start_vm(name) and daemon.vm(name)
        pids = [pid for vm in vms.values() for pid in (vm["supervisor"], vm["worker"])]
        for turn in range(rounds):
            for console in consoles:
                console.type(b"f")
            listing = snapshot(os.path.join(daemon.run, "vms"))
            daemon.kill()
            if turn == 2:
                os.kill(vms["worker0"]["worker"], signal.SIGKILL)
                os.kill(vms["supervisor0"]["supervisor"], signal.SIGKILL)
                for name in ("worker0", "supervisor0"):
                    wait_for(lambda name=name: gone(vms[name]["supervisor"]) and
                             gone(vms[name]["worker"]), "its end")
                    del vms[name]
            daemon.start()
            if turn != 2:
                now = snapshot(os.path.join(daemon.run, "vms"))
                expect(now == listing, "to take over changes files", now, listing)
            for name, before in vms.items():
                vm = daemon.vm(name)
                expect(vm["state"] == "running" and vm["waiting"] == [], vm)
                expect([vm[key] for key in ("supervisor", "worker", "since")] ==
                       [before[key] for key in ("supervisor", "worker", "since")], vm, before)
        expect("signal 9" in daemon.vm("worker0")["reason"], daemon.vm("worker0"))
        expect("supervisor was killed" in daemon.vm("supervisor0")["reason"], daemon.vm("supervisor0"))
        with daemon.client() as events:
            events.send("WatchEvents", more=True)
            os.kill(vms["worker1"]["worker"], signal.SIGKILL)
            event = next_event(events, "end")
            expect(event["name"] == "worker1" and "signal 9" in event["details"]["message"], event)
            os.kill(vms["supervisor1"]["supervisor"], signal.SIGKILL)
            event = next_event(events, "end")
            expect(event["name"] == "supervisor1", event)
        for console in consoles:
            console.wait(b"filled\n", rounds)
            console.type(b"c")
            console.wait(b"whole\n")
            expect(b"cannot" not in console.text, console.text)
            console.close()
        states = {name: vm["state"] for name, vm in daemon.vms().items()}
        expect(states == {"steady0": "running", "steady1": "running", "worker0": "off_after_crash",
                          "worker1": "off_after_crash", "supervisor0": "off_after_crash",
                          "supervisor1": "off_after_crash"}, states)
        for name in ("steady0", "steady1"):
            daemon.call("StopVM", vm=name, turn_off=True)
        for pid in pids:
            wait_for(lambda pid=pid: gone(pid), "a process to be gone")
        expect(os.listdir(os.path.join(daemon.run, "vms")) == [], "files of runs are left")


@test
def a_helper_that_is_killed_ends_no_vm(place):
    if not shutil.which("passt"):
        return
    with Daemon(place) as daemon:
        daemon.create("one", nics=[{"name": "lan", "kind": "user"}])
        vm = daemon.start_vm("one")
        helpers = [pid for pid in children(vm["supervisor"]) if pid != vm["worker"]]
        daemon.restart()
        with daemon.client() as events:
            events.send("WatchEvents", more=True)
            os.kill(helpers[0], signal.SIGKILL)
            event = next_event(events, "device", "one")
            expect("passt has ended" in event["details"]["message"], event)
        expect(daemon.vm("one")["worker"] == vm["worker"], "it was disturbed")
        # With its network in need of help, it is put right by plugging it in anew.
        daemon.call("DetachNic", vm="one", nic="lan")
        daemon.call("AttachNic", vm="one", nic={"name": "lan", "kind": "user"})
        helpers = [pid for pid in children(vm["supervisor"]) if pid != vm["worker"]]
        expect(len(helpers) == 1, helpers)
        os.kill(vm["supervisor"], signal.SIGKILL)
        daemon.wait("one", "off_after_crash")
        wait_for(lambda: gone(helpers[0]), "its helper to end")


FULL = """mount -t tmpfs -o size=256k,nr_inodes=64,mode=0777 none {run}"""


@test
def vms_are_taken_over_when_run_is_full(place):
    run = os.path.join(place.path, "run")
    os.mkdir(run)
    with Apart(FULL.format(run=run)) as apart:
        if not apart.works:
            raise Skip("no right to mount")
        with Daemon(place, apart=apart) as daemon:
            for name in ("one", "two"):
                daemon.create(name)
            vm = daemon.start_vm("one")
            # Not a page and not an inode is left.
            with open(os.path.join(daemon.run, "filler"), "wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
            for number in range(64):
                try:
                    os.mkdir(os.path.join(daemon.run, f"filler{number}"))
                except OSError:
                    break
            listing = snapshot(os.path.join(daemon.run, "vms"))
            daemon.restart()
            expect(daemon.vm("one")["worker"] == vm["worker"], daemon.vm("one"))
            expect(snapshot(os.path.join(daemon.run, "vms")) == listing, "files were changed")
            # What needs a file there says so, and does nothing by halves.
            image = place.file("a.img")
            refused = daemon.fails("Failed", "AttachDisk", vm="one",
                                   disk={"name": "a", "kind": "disk", "path": image})
            expect("free some space" in refused["message"], refused)
            expect(daemon.vm("one")["settings"]["disks"] == [], daemon.vm("one"))
            expect(image not in json.dumps(daemon.call("Counters", vm="one")), "it has the disk")
            refused = daemon.fails("Failed", "StartVM", vm="two")
            expect("two: " in refused["message"], refused)
            expect(daemon.call("SetVM", vm="one", change={"notes": "a"})["applied"] == ["notes"],
                   "what needs no file")
            expect(daemon.call("StopVM", vm="one", turn_off=True)["state"] == "off", "its end")
            os.unlink(daemon.run + "/filler")
            for name in os.listdir(daemon.run):
                if name.startswith("filler"):
                    os.rmdir(os.path.join(daemon.run, name))
            for name in ("one", "two"):
                expect(daemon.start_vm(name)["state"] == "running", name)


def take_over(apart, daemon, place):
    """A daemon that a service manager starts with its socket, which is not in its directory."""
    path = os.path.join(place.path, "activated")
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    fd = os.dup(listener.fileno())
    process = subprocess.Popen(
        [*apart.enter(), "sh", "-c", f'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<&{fd}', "sh",
         VMMS, "--socket", daemon.own_socket, "--state", daemon.state],
        stderr=daemon.words, pass_fds=[fd])
    os.close(fd)
    listener.close()
    return process, path


@test
def an_activated_daemon_takes_over_where_run_is_read_only(place):
    run = os.path.join(place.path, "run")
    os.mkdir(run)
    with Apart(FULL.format(run=run)) as apart:
        if not apart.works:
            raise Skip("no right to mount")
        with Daemon(place, apart=apart) as daemon:
            daemon.create("one")
            vm = daemon.start_vm("one")
            daemon.kill()
            apart.does("mount", "-o", "remount,ro", run)
            listing = snapshot(daemon.run)
            daemon.process, daemon.socket = take_over(apart, daemon, place)
            taken = daemon.vm("one")
            expect(taken["state"] == "running" and taken["worker"] == vm["worker"], taken)
            expect(snapshot(daemon.run) == listing, "files were changed")
            expect(daemon.call("PauseVM", vm="one")["vm"]["state"] == "paused", "pause")
            expect("exits" in daemon.call("Counters", vm="one")["tree"], "no counters")
            expect(daemon.call("StopVM", vm="one", turn_off=True)["state"] == "off", "its end")
            apart.does("mount", "-o", "remount,rw", run)


@test
def daemons_of_other_versions_leave_vms_to_each_other(place):
    with Daemon(place) as daemon:
        vm = daemon.create("one") and daemon.start_vm("one")
        path = os.path.join(daemon.run, "vms", vm["uuid"], "run.json")
        with open(path, encoding="utf-8") as file:
            note = json.load(file)
        newer = dict(note, version=2, colour="blue",
                     settings=dict(note["settings"], version=2, colour="blue"))
        older = {key: note[key] for key in ("version", "uuid", "name", "supervisor_pid",
                                            "supervisor_start", "boot_id", "started",
                                            "settings_revision")}
        for written in (newer, older):
            daemon.kill()
            with open(path, "w", encoding="utf-8") as file:
                json.dump(written, file)
            daemon.start()
            taken = daemon.vm("one")
            expect(taken["state"] == "running" and taken["worker"] == vm["worker"], taken)
        expect("one was started by a newer daemon" in daemon.said(), daemon.said())
        # A note that nobody could have written is no reason to end anybody.
        for change in ({"colour": 1}, {"method": "AttachDisk", "member": "disks.a"},
                       {"method": 5, "member": []}, {"member": "x" * 200}, [], 7):
            daemon.kill()
            with open(path, "w", encoding="utf-8") as file:
                json.dump(dict(note, change=change), file)
            daemon.start()
            expect(daemon.call("SetVM", vm="one", change={"notes": "a"})["waiting"] == [], change)
            expect(daemon.vm("one")["worker"] == vm["worker"], change)


@test
def a_worker_that_hangs_is_told_of_and_can_be_turned_off(place):
    with Daemon(place) as daemon:
        daemon.create("hung")
        daemon.create("off")
        hung, off = daemon.start_vm("hung"), daemon.start_vm("off")
        os.kill(hung["worker"], signal.SIGSTOP)
        os.kill(off["worker"], signal.SIGSTOP)
        with daemon.client() as first:
            first.send("StopVM", vm="off", turn_off=True)
            # The second call has it killed at once.
            wait_for(lambda: daemon.vm("off")["state"] != "running", "its end to begin")
            expect(daemon.call("StopVM", vm="off", turn_off=True)["state"] == "off", "it runs")
            expect(first.reply()["state"] == "off", "who asked first")
        expect(daemon.vm("off")["state"] == "off" and gone(off["worker"]), daemon.vm("off"))
        wait_for(lambda: "not answered" in daemon.vm("hung")["reason"], "word that it hangs")
        daemon.restart()
        expect("not answered" in daemon.vm("hung")["reason"], daemon.vm("hung"))
        os.kill(hung["worker"], signal.SIGCONT)
        wait_for(lambda: daemon.vm("hung")["reason"] == "", "word that it answers")
        expect(daemon.vm("hung")["state"] == "running", daemon.vm("hung"))


@test
def a_stopped_worker_that_is_left_alone_is_ended(place):
    """Also where its definition is gone, and not one of its number that is another by now."""
    # So that who is left comes to us, and the supervisors are gone, or not quite, as we have it.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with Daemon(place) as daemon:
        vms = {name: daemon.create(name) and daemon.start_vm(name)
               for name in ("one", "lost", "two", "half")}
        for vm in vms.values():
            wait_for(lambda path=os.path.join(daemon.run, "vms", vm["uuid"], "worker.json"):
                     os.path.exists(path), "a note of the worker")
        daemon.kill()
        other = subprocess.Popen(["sleep", "1000"])
        try:
            for name, vm in vms.items():
                os.kill(vm["worker"], signal.SIGSTOP)
                os.kill(vm["supervisor"], signal.SIGKILL)
                wait_for(lambda pid=vm["supervisor"]: gone(pid), f"the supervisor of {name}")
                expect(not gone(vm["worker"]), "a worker that is stopped ends")
                if name in ("one", "lost"):
                    os.waitpid(vm["supervisor"], 0)
            os.unlink(os.path.join(daemon.state, "vms", vms["lost"]["uuid"] + ".json"))
            path = os.path.join(daemon.run, "vms", vms["two"]["uuid"], "worker.json")
            with open(path, encoding="utf-8") as file:
                note = json.load(file)
            expect(note["worker_pid"] == vms["two"]["worker"], note)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(dict(note, worker_pid=other.pid), file)
            daemon.start()
            for name in ("one", "lost", "half"):
                wait_for(lambda pid=vms[name]["worker"]: gone(pid), f"the end of {name}")
            for name in ("one", "two", "half"):
                daemon.wait(name, "off_after_crash")
            expect(other.poll() is None, "another process was ended")
            expect(daemon.start_vm("one")["state"] == "running", "it starts again")
            wait_for(lambda: not os.path.exists(os.path.dirname(path)), "the end of the files")
        finally:
            other.kill()
            other.wait()
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(vms["two"]["worker"], signal.SIGKILL)


@test
def a_vm_waits_for_room_on_the_host(place):
    small = os.path.join(place.path, "small")
    os.mkdir(small)
    script = (f"mount -t tmpfs -o size=12m,mode=0777 none {small}; truncate -s 64M {small}/disk; "
              f"dd if=/dev/zero of={small}/filler bs=1M count=8 status=none")
    with Apart(script) as apart:
        if not apart.works:
            raise Skip("no right to mount")
        with Daemon(place, apart=apart) as daemon, daemon.client() as events:
            events.send("WatchEvents", more=True)
            disk = {"name": "a", "kind": "disk", "path": small + "/disk"}
            daemon.create("full", kernel="writer", disks=[disk])
            full = daemon.start_vm("full")
            console = Console(daemon, full)
            console.wait(b"writer\n")
            console.type(b"f")
            event = next_event(events, "disk-full", "full")
            expect("no room" in event["details"]["message"], event)
            for _ in range(2):
                full = daemon.wait("full", "paused")
                expect("no room" in full["reason"] and "resume" in full["reason"], full)
                daemon.restart()
            os.unlink(apart.seen(small + "/filler"))
            expect(daemon.call("ResumeVM", vm="full")["vm"]["reason"] == "", daemon.vm("full"))
            console.wait(b"filled\n")
            console.type(b"c")
            console.wait(b"whole\n")
            console.close()
            expect(daemon.vm("full")["state"] == "running", daemon.vm("full"))


@test
def a_host_that_shuts_down_stops_vms_in_order(place):
    """Those that are started last first, and what cannot be asked is turned off."""
    with Daemon(place) as daemon:
        for name, delay, action in (("base", 0, "turn_off"), ("middle", 10, "shut_down"),
                                    ("top", 20, "turn_off"), ("paused", 20, "shut_down")):
            daemon.create(name, start_action={"kind": "if_ran", "delay": delay}, stop_action=action)
            daemon.start_vm(name)
        daemon.create("off")
        daemon.call("PauseVM", vm="paused")
        daemon.restart()  # which stops nobody
        expect(daemon.vm("paused")["state"] == "paused", daemon.vm("paused"))
        events = daemon.client()
        events.send("WatchEvents", more=True)
        shutdown = subprocess.run([VMMS, "--socket", daemon.socket, "--shutdown"], text=True,
                                  capture_output=True, timeout=PATIENCE)
        expect(shutdown.returncode == 0, shutdown)
        order = []
        while (event := events.reply())["event"] != "shut-down":
            if event["event"] == "state" and event["details"]["state"] == "off":
                order.append(event["name"])
        expect(sorted(order[:2]) == ["paused", "top"] and order[2:] == ["middle", "base"], order)
        events.socket.close()


if __name__ == "__main__":
    sys.exit(main())
