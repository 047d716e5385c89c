#!/usr/bin/env python3
"""VMs that the daemon saves, and starts from there; TAP on standard output.

    saved_vms.py BULKHEAD PAYLOADS
"""

import json
import os
import signal
import subprocess
import sys

from daemon import VMMS, Daemon, children
from harness import BULKHEAD, PATIENCE, Vm, call, expect, main, need_kvm, payload, test, wait_for

STEPS = ("/^unlink", "/^rename", "fsync")  # what changes a directory, and for good


def time_of(daemon, name="one"):
    """How long its guest has run, which a start from anew has go back to nothing."""
    return daemon.call("Inspect", vm=name)["tree"]["partition"]["hyperv"]["reference-time"]


def place_of(daemon, vm):
    return os.path.join(daemon.state, "saved", vm["uuid"])


def saves(daemon, vm):
    """Saves it, and returns the time that it has to go on from."""
    before = time_of(daemon)
    expect(daemon.call("SaveVM", vm="one")["vm"]["state"] == "saved", daemon.vms())
    expect(sorted(os.listdir(place_of(daemon, vm))) == ["memory", "state"], os.listdir(daemon.state))
    return before


def goes_on(daemon, vm, before):
    expect(daemon.start_vm("one")["state"] == "running", daemon.vms())
    expect(time_of(daemon) > before, (before, time_of(daemon)))
    expect(not os.listdir(place_of(daemon, vm)), "a state that was used up is there")


@test
def a_vm_goes_on_from_where_it_was_saved(place):
    need_kvm()
    with Daemon(place) as daemon:
        vm = daemon.create("one")
        daemon.fails("WrongState", "SaveVM", vm="one")
        daemon.fails("WrongState", "DiscardVM", vm="one")
        daemon.start_vm("one")
        before = saves(daemon, vm)
        for file in ("memory", "state", "."):
            mode = os.stat(os.path.join(place_of(daemon, vm), file)).st_mode
            expect(not mode & 0o077, f"{file} has mode {mode:o}")
        daemon.fails("WrongState", "SaveVM", vm="one")
        daemon.fails("WrongState", "PauseVM", vm="one")
        goes_on(daemon, vm, before)
        daemon.call("PauseVM", vm="one")
        before = saves(daemon, vm)
        daemon.restart()
        expect(daemon.vm("one")["state"] == "saved", daemon.vms())
        goes_on(daemon, vm, before)
        before = saves(daemon, vm)
        expect(daemon.call("DiscardVM", vm="one")["vm"]["state"] == "off", daemon.vms())
        daemon.start_vm("one")
        expect(time_of(daemon) < before, "it went on from what was discarded")
        saves(daemon, vm)
        daemon.call("RemoveVM", vm="one")
        expect(not os.path.exists(place_of(daemon, vm)), "a VM's memory outlived it")


@test
def a_saved_vm_stays_what_it_is(place):
    need_kvm()
    with Daemon(place) as daemon:
        vm = daemon.create("one")
        daemon.start_vm("one")
        daemon.call("SetVM", vm="one", change={"processors": {"count": 2}})
        said = daemon.fails("WrongState", "SaveVM", vm="one")["message"]
        expect("wait for a new start" in said and daemon.vm("one")["state"] == "running", said)
        daemon.call("SetVM", vm="one", change={"processors": {"count": 1}})
        before = saves(daemon, vm)
        daemon.fails("WrongState", "SetVM", vm="one", change={"processors": {"count": 2}})
        daemon.fails("WrongState", "SetVM", vm="one", change={"memory": {"startup": 32 << 20}})
        daemon.fails("WrongState", "AttachDisk", vm="one",
                     disk={"kind": "disk", "path": place.file("disk", bytes(1 << 20))})
        daemon.call("SetVM", vm="one", change={"notes": "asleep", "stop_action": "save"})
        daemon.call("RenameVM", vm="one", name="two")
        daemon.call("RenameVM", vm="two", name="one")
        goes_on(daemon, vm, before)


@test
def what_cannot_be_taken_up_is_kept(place):
    need_kvm()
    with Daemon(place) as daemon:
        vm = daemon.create("one")
        daemon.start_vm("one")
        before = saves(daemon, vm)
        memory = os.path.join(place_of(daemon, vm), "memory")
        size = os.stat(memory).st_size
        os.truncate(memory, size - 4096)
        said = daemon.fails("Failed", "StartVM", vm="one")["message"]
        expect("saved state" in said and "discard" in said, said)
        expect(daemon.vm("one")["state"] == "saved", daemon.vms())
        os.truncate(memory, size)
        goes_on(daemon, vm, before)



@test
def a_full_disk_has_the_vm_go_on(place):
    need_kvm()
    with Daemon(place) as daemon:
        vm = daemon.create("one")
        daemon.start_vm("one")
        # Where its files cannot be made, as on a full disk, but for who may do all.
        os.rmdir(place_of(daemon, vm))
        said = daemon.fails("Failed", "SaveVM", vm="one")["message"]
        expect("was not saved" in said, said)
        expect(daemon.vm("one")["state"] == "running", daemon.vms())
        expect("being saved" not in daemon.vm("one")["reason"], daemon.vm("one"))
        before = time_of(daemon)
        wait_for(lambda: time_of(daemon) > before, "the guest to run on")


@test
def a_host_that_shuts_down_saves(place):
    need_kvm()
    with Daemon(place) as daemon:
        vm = daemon.create("one", stop_action="save")
        daemon.create("two", stop_action="turn_off")
        daemon.start_vm("one")
        daemon.start_vm("two")
        before = time_of(daemon)
        stopped = subprocess.run([VMMS, "--socket", daemon.socket, "--shutdown"],
                                 env=place.environment, capture_output=True, timeout=PATIENCE,
                                 text=True, check=False)
        expect(stopped.returncode == 0, stopped)
        states = {name: each["state"] for name, each in daemon.vms().items()}
        expect(states == {"one": "saved", "two": "off"}, states)
        goes_on(daemon, vm, before)


class Run:
    """A VM of `bulkhead run`, which dies in place of the Nth of such steps; of none without one."""

    def __init__(self, place, step, number, *options):
        self.place = place
        dies = ["strace", "--output", "/dev/null", "--trace", step, "--inject",
                f"{step}:retval=0:signal=KILL:when={number}"] if step else []
        self.process = subprocess.Popen(
            [*dies, BULKHEAD, "run", "--name", "one", "--kernel", payload("idle"), "--console",
             "none", "--memory", "16M", "--json", *options],
            env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        wait_for(self.runs_or_ended, "the VM")

    def runs_or_ended(self):
        return self.process.poll() is not None or self.place.run("inspect", "one").returncode == 0

    def end(self):
        """Its reason; "" where it was killed."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        return json.loads(said.splitlines()[-1])["reason"] if said else ""

    def save(self, directory):
        self.place.run("save", "one", directory)
        return self.end()


def points(place, step, life):
    """Has a VM die at the first such step of its life, then at the second, until it has no more;
    whether there was a state at the end of each."""
    found = []
    survived = False
    while not survived:
        expect(len(found) < 20, f"it always died at {step}: {found}")
        directory = os.path.join(place.path, f"{step.strip('/^')}-{len(found)}")
        survived = life(place, directory, step, len(found) + 1)
        found.append(os.path.exists(os.path.join(directory, "state")))
    return found


def is_saved(place, directory, step, number):
    reason = Run(place, step, number).save(directory)
    if os.path.exists(os.path.join(directory, "state")):
        with Vm(place, "--memory", "16M", "--restore", directory):
            pass
        return reason == "saved"
    return False


def goes_on_alone(place, directory, step, number):
    expect(Run(place, None, 0).save(directory) == "saved", directory)
    again = Run(place, step, number, "--restore", directory)
    runs = again.process.poll() is None and place.reply("inspect", "one")["state"] == "running"
    if again.process.poll() is None:
        call(place.socket("one"), "io.bulkhead.VM.Kill")
    again.end()
    return runs


@test
def saved_whole_or_not_at_all(place):
    need_kvm()
    for step, found in ((step, points(place, step, is_saved)) for step in STEPS):
        # What Vm went on from is gone by now: a state that is there was never whole.
        expect(len(found) > 1 and not any(found), (step, found))


@test
def gone_on_from_once_at_most(place):
    need_kvm()
    found = {step: points(place, step, goes_on_alone) for step in STEPS}
    expect(found["/^rename"][0] and not any(found["/^rename"][1:]), found)
    expect(len(found["/^unlink"]) > 1 and not any(found["/^unlink"]), found)
    # Gone, but the disk may not know: the guest has not run.
    expect(len(found["fsync"]) > 1 and not any(found["fsync"]), found)


@test
def killed_while_it_is_saved(place):
    """The worker alone: there is no state of it, and its supervisor says so."""
    need_kvm()
    with Daemon(place) as daemon:
        vm = daemon.create("one", memory={"startup": 256 << 20})
        daemon.start_vm("one")
        worker = children(next(daemon.notes())["supervisor_pid"])[0]
        os.kill(worker, signal.SIGSTOP)
        with daemon.client() as client:
            client.send("SaveVM", vm="one")
            wait_for(lambda: os.listdir(place_of(daemon, vm)), "the files")
            os.kill(worker, signal.SIGKILL)
            answer = client.message()
            expect("error" in answer, answer)
        expect(daemon.wait("one", "off_after_crash", "saved")["state"] == "off_after_crash",
               daemon.vms())
        expect(not os.listdir(place_of(daemon, vm)), os.listdir(place_of(daemon, vm)))


sys.exit(main())
