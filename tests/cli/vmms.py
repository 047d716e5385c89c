#!/usr/bin/env python3
"""bulkhead-vmms and the lives of its VMs; TAP on standard output.

    vmms.py BULKHEAD PAYLOADS
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading

from daemon import VMMS, Daemon, Refused, start_time
from harness import PATIENCE, expect, main, payload, test, wait_for


def gone(pid):
    return start_time(pid) is None


def only_sentence(words, *parts):
    expect(words.startswith("bulkhead-vmms: ") and words.count("\n") == 1,
           f"not one sentence: {words!r}")
    for part in parts:
        expect(part in words, f"no {part!r} in {words!r}")


@test
def a_vm_lives_and_ends(place):
    with Daemon(place) as daemon:
        made = daemon.create("one", notes="the first")
        expect(made["state"] == "off" and made["settings"]["notes"] == "the first", made)
        expect(daemon.vm(made["uuid"])["name"] == "one", "it is not found by its UUID")
        vm = daemon.start_vm("one")
        expect(vm["state"] == "running" and vm["waiting"] == [], vm)
        expect(not gone(vm["supervisor"]) and not gone(vm["worker"]), vm)
        expect(daemon.call("PauseVM", vm="one")["vm"]["state"] == "paused", "it is not paused")
        expect(daemon.call("ResumeVM", vm="one")["vm"]["state"] == "running", "it is paused")
        expect("exits" in daemon.call("Counters", vm="one")["tree"], "no counters")
        reply = daemon.call("StopVM", vm="one", turn_off=True)
        expect(reply["state"] == "off", reply)
        expect(gone(vm["supervisor"]) and gone(vm["worker"]), "processes are left")
        expect(daemon.vm("one")["reason"] == "it was turned off", daemon.vm("one"))
        daemon.call("RemoveVM", vm="one")
        daemon.fails("NotFound", "GetVM", vm="one")
        expect(os.listdir(os.path.join(daemon.state, "vms")) == [], "its definition is left")


@test
def states_decide_what_may_be_done(place):
    with Daemon(place) as daemon:
        daemon.create("one")
        for method in ("PauseVM", "ResumeVM", "RestartVM", "Nmi", "Inspect"):
            expect(daemon.fails("WrongState", method, vm="one")["state"] == "off", method)
        expect(daemon.call("StopVM", vm="one")["state"] == "off", "to stop it again is no error")
        daemon.start_vm("one")
        for method in ("StartVM", "ResumeVM", "RemoveVM"):
            expect(daemon.fails("WrongState", method, vm="one")["state"] == "running", method)
        daemon.call("PauseVM", vm="one")
        for method in ("PauseVM", "StopVM", "RestartVM"):
            expect(daemon.fails("WrongState", method, vm="one")["state"] == "paused", method)
        daemon.call("StopVM", vm="one", turn_off=True)


@test
def a_guest_without_the_service_is_not_asked_to_shut_down(place):
    with Daemon(place) as daemon:
        daemon.create("one")
        daemon.start_vm("one")
        with daemon.client() as client:
            client.send("StopVM", more=True, vm="one")
            expect(client.reply()["waiting_for"] == "the guest to take the request", "no progress")
            try:
                client.reply()
                raise AssertionError("it shut down")
            except Refused as refused:
                expect(refused.error == "Failed" and "--turn-off" in refused.message, refused)
        expect(daemon.vm("one")["state"] == "running", daemon.vm("one"))


@test
def restart_gives_a_vm_what_waited_for_it(place):
    with Daemon(place) as daemon:
        daemon.create("one")
        before = daemon.start_vm("one")
        reply = daemon.call("SetVM", vm="one", change={"processors": {"count": 2}, "notes": "two"})
        expect(reply["applied"] == ["notes"] and reply["waiting"] == ["processors"], reply)
        daemon.restart()
        expect(daemon.vm("one")["waiting"] == ["processors"], daemon.vm("one"))
        expect(daemon.call("RestartVM", vm="one", turn_off=True)["state"] == "running", "not again")
        after = daemon.vm("one")
        expect(after["waiting"] == [] and after["worker"] != before["worker"], after)


@test
def how_a_guest_ends_is_told(place):
    with Daemon(place) as daemon, daemon.client() as events:
        events.send("WatchEvents", more=True)
        for word, reason, state, said in (
                ("power-off", "power-off", "off", "powered off"),
                ("reset-msr", "reset", "off", "reset"),
                ("crash reset", "crash", "off_after_crash", "last words")):
            name = word.replace(" ", "-")
            daemon.create(name, on_reset="stop",
                          boot={"kernel": payload("finish"), "command_line": word})
            try:
                daemon.start_vm(name)
            except Refused as refused:  # it may end before its start is answered
                expect(refused.error == "Failed", refused)
            while (event := events.reply())["event"] != "end":
                pass
            expect(event["name"] == name and event["details"]["reason"] == reason, event)
            vm = daemon.wait(name, state)
            expect(said in vm["reason"], vm)


@test
def what_cannot_start_says_why(place):
    with Daemon(place) as daemon:
        kernel = place.file("kernel", b"no kernel")
        daemon.create("one", boot={"kernel": kernel})
        failed = daemon.fails("Failed", "StartVM", vm="one")
        expect("one: " in failed["message"] and "kernel" in failed["message"], failed)
        vm = daemon.vm("one")
        expect(vm["state"] == "off" and vm["reason"], vm)
        os.unlink(kernel)
        failed = daemon.fails("Failed", "StartVM", vm="one")
        expect(kernel in failed["message"], failed)
        daemon.restart()
        again = daemon.vm("one")
        expect(again["state"] == "off" and kernel in again["reason"], again)


@test
def names_and_revisions_are_taken_once(place):
    with Daemon(place) as daemon:
        one = daemon.create("one")
        daemon.create("two")
        try:
            daemon.create("one")
            raise AssertionError("two VMs have one name")
        except Refused as refused:
            expect(refused.error == "Exists", refused)
        try:
            daemon.create("three", uuid=one["uuid"])
            raise AssertionError("two VMs have one UUID")
        except Refused as refused:
            expect(refused.error == "Exists", refused)
        daemon.fails("Exists", "RenameVM", vm="one", name="two")
        daemon.call("RenameVM", vm="one", name="zero")
        expect(list(daemon.vms()) == ["two", "zero"], daemon.vms())
        revision = daemon.vm("zero")["settings"]["revision"]
        daemon.call("SetVM", vm="zero", change={"notes": "a"}, revision=revision)
        conflict = daemon.fails("Conflict", "SetVM", vm="zero", change={"notes": "b"},
                                revision=revision)
        expect(conflict["revision"] == revision + 1, conflict)
        wrong = daemon.fails("BadSettings", "SetVM", vm="zero", change={"memory": {"startup": 1}})
        expect(wrong["member"].startswith("memory"), wrong)
        expect(daemon.vm("zero")["settings"]["notes"] == "a", daemon.vm("zero"))


@test
def disks_come_and_go_while_it_runs(place):
    with Daemon(place) as daemon:
        paths = [place.file(name, b"\0" * (1 << 20)) for name in ("a.img", "b.img")]
        daemon.create("one")
        daemon.start_vm("one")
        disk = {"name": "a", "kind": "disk", "path": paths[0]}
        expect(daemon.call("AttachDisk", vm="one", disk=disk)["disk"]["path"] == paths[0], "path")
        daemon.fails("Exists", "AttachDisk", vm="one", disk=dict(disk, path=paths[1]))
        missing = {"name": "b", "kind": "disk", "path": place.path + "/missing"}
        daemon.fails("Failed", "AttachDisk", vm="one", disk=missing)
        taken = {"name": "b", "kind": "disk", "path": paths[0]}
        refused = daemon.fails("Failed", "AttachDisk", vm="one", disk=taken)
        expect("one: " in refused["message"], refused)
        names = [disk["name"] for disk in daemon.vm("one")["settings"]["disks"]]
        expect(names == ["a"], f"what the guest refused is kept: {names}")
        expect(daemon.call("SetDisk", vm="one", disk="a", iops=50)["disk"]["iops"] == 50, "iops")
        expect("iops" not in daemon.call("SetDisk", vm="one", disk="a", iops=0)["disk"], "iops")
        daemon.fails("BadSettings", "ChangeMedium", vm="one", disk="a")
        daemon.fails("NotFound", "DetachDisk", vm="one", disk="b")
        daemon.call("DetachDisk", vm="one", disk="a")
        vm = daemon.vm("one")
        expect(vm["settings"]["disks"] == [] and vm["waiting"] == [], vm)
        expect(paths[0] not in json.dumps(daemon.call("Inspect", vm="one")), "the guest has it")


@test
def a_killed_worker_is_a_crash(place):
    with Daemon(place) as daemon, daemon.client() as events:
        daemon.create("one")
        other = daemon.create("two") and daemon.start_vm("two")
        vm = daemon.start_vm("one")
        events.send("WatchEvents", more=True, vm="one")
        os.kill(vm["worker"], signal.SIGKILL)
        while (event := events.reply())["event"] != "state":
            pass
        expect(event["details"]["state"] == "off_after_crash", event)
        expect("signal 9" in event["details"]["reason"], event)
        expect(daemon.vm("two")["worker"] == other["worker"], "the other was disturbed")
        daemon.restart()
        expect(daemon.vm("one")["state"] == "off_after_crash", "the next daemon does not know")
        expect(daemon.start_vm("one")["state"] == "running", "it does not start again")


@test
def a_killed_supervisor_leaves_nothing(place):
    with Daemon(place) as daemon:
        daemon.create("one")
        vm = daemon.start_vm("one")
        os.kill(vm["supervisor"], signal.SIGKILL)
        ended = daemon.wait("one", "off_after_crash")
        expect("supervisor was killed" in ended["reason"], ended)
        expect(gone(vm["worker"]), "its worker is left")
        expect(list(daemon.notes()) == [], "its note is left")
        expect(daemon.call("StopVM", vm="one")["state"] == "off", "the crash is not put aside")


@test
def a_crash_is_followed_by_a_restart_where_that_is_set(place):
    with Daemon(place) as daemon, daemon.client() as events:
        daemon.create("one", on_crash={"restart": True, "delay": 0, "limit": 2})
        events.send("WatchEvents", more=True)
        worker = daemon.start_vm("one")["worker"]
        for _ in range(2):
            os.kill(worker, signal.SIGKILL)
            while (event := events.reply())["event"] != "restart-scheduled":
                pass
            worker = daemon.wait("one", "running")["worker"]
        os.kill(worker, signal.SIGKILL)
        while (event := events.reply())["event"] != "restart-given-up":
            expect(event["event"] != "restart-scheduled", event)
        expect(daemon.wait("one", "off_after_crash")["state"] == "off_after_crash", "it runs")


@test
def the_next_daemon_takes_over_what_runs(place):
    names = [f"vm{number}" for number in range(4)]
    with Daemon(place) as daemon:
        before = {}
        for name in names:
            daemon.create(name)
            before[name] = daemon.start_vm(name)
        daemon.call("PauseVM", vm="vm1")
        for _ in range(5):
            listing = snapshot(daemon.run)
            daemon.restart()
            expect(snapshot(daemon.run) == listing, "to take over makes files")
            for name in names:
                vm = daemon.vm(name)
                expect(vm["state"] == ("paused" if name == "vm1" else "running"), vm)
                expect(vm["worker"] == before[name]["worker"], vm)
        daemon.end()  # by SIGTERM, which ends no VM either
        for name in names:
            expect(not gone(before[name]["worker"]), "it ended with the daemon")
        daemon.start()
        os.kill(before["vm2"]["worker"], signal.SIGKILL)
        expect("signal 9" in daemon.wait("vm2", "off_after_crash")["reason"], "no reason")
        expect(daemon.call("StopVM", vm="vm3", turn_off=True)["state"] == "off", "it runs")


def snapshot(path):
    """All files below, and which ones they are; the daemon's own sockets are made anew each time."""
    found = {}
    for top, _, files in os.walk(path):
        for name in files:
            if name not in ("vmms.sock", "public.sock"):
                whole = os.path.join(top, name)
                found[whole] = os.lstat(whole).st_ino
    return found


@test
def what_ended_without_a_daemon_is_known(place):
    with Daemon(place) as daemon:
        vms = {}
        for name in ("worker", "supervisor", "both"):
            daemon.create(name)
            vms[name] = daemon.start_vm(name)
        daemon.kill()
        for name, pids in (("worker", ["worker"]), ("supervisor", ["supervisor"]),
                           ("both", ["supervisor", "worker"])):
            for which in pids:
                os.kill(vms[name][which], signal.SIGKILL)
        for vm in vms.values():
            wait_for(lambda vm=vm: gone(vm["supervisor"]) and gone(vm["worker"]), "its end")
        daemon.start()
        expect("signal 9" in daemon.vm("worker")["reason"], daemon.vm("worker"))
        for name in vms:
            vm = daemon.vm(name)
            expect(vm["state"] == "off_after_crash" and vm["reason"], vm)
        daemon.restart()
        expect(daemon.vm("both")["state"] == "off_after_crash", daemon.vm("both"))


@test
def a_note_of_somebody_else_is_not_believed(place):
    with Daemon(place) as daemon:
        vm = daemon.create("one")
        daemon.kill()
        folder = os.path.join(daemon.run, "vms", vm["uuid"])
        sleeper = subprocess.Popen(["sleep", "1000"])
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
                boot_id = file.read().strip()
            note = {"version": 1, "uuid": vm["uuid"], "name": "one", "boot_id": boot_id,
                    "supervisor_pid": sleeper.pid, "supervisor_start": 1, "started": 1,
                    "settings_revision": 1}
            for text in (json.dumps(note), json.dumps(dict(note, boot_id="another")), "{", "[]"):
                os.makedirs(folder, exist_ok=True)
                with open(os.path.join(folder, "run.json"), "w", encoding="utf-8") as file:
                    file.write(text)
                daemon.start()
                expect(daemon.vm("one")["state"] in ("off", "off_after_crash"), daemon.vm("one"))
                daemon.kill()
            os.unlink(os.path.join(folder, "run.json"))
            expect(sleeper.poll() is None, "a process of somebody else was killed")
        finally:
            sleeper.kill()
            sleeper.wait()


@test
def there_is_one_daemon(place):
    with Daemon(place) as daemon:
        for socket, state in (("other.sock", daemon.state), (daemon.socket, "other")):
            second = subprocess.run([VMMS, "--socket", socket, "--state", state],
                                    capture_output=True, text=True, timeout=PATIENCE)
            expect(second.returncode == 1, second)
            only_sentence(second.stderr)
        expect(daemon.answers(), "the first was disturbed")


@test
def mutations_that_race_leave_one_result(place):
    clients, rounds = 6, 8
    with Daemon(place) as daemon:
        daemon.create("one")
        daemon.start_vm("one")
        failures = []

        def mutate(number):
            chance = random.Random(number)
            path = place.file(f"disk{number}", b"\0" * 65536)
            disk = {"name": f"disk{number}", "kind": "disk", "path": path}
            with daemon.client() as client:
                for turn in range(rounds):
                    method, parameters = chance.choice([
                        ("SetVM", {"change": {"notes": f"{number} {turn}"}}),
                        ("AttachDisk", {"disk": disk}),
                        ("DetachDisk", {"disk": disk["name"]}),
                        ("PauseVM", {}),
                        ("ResumeVM", {}),
                        ("RestartVM", {"turn_off": True}),
                        ("StopVM", {"turn_off": True}),
                        ("StartVM", {}),
                    ])
                    try:
                        client.call(method, vm="one", **parameters)
                    except Refused as refused:
                        allowed = ("WrongState", "Conflict", "Exists", "NotFound", "Failed")
                        if refused.error not in allowed or not refused.message:
                            failures.append(refused)

        def run(number):
            try:
                mutate(number)
            except Exception as error:  # told by the main thread
                failures.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(not failures, failures)
        expect(daemon.call("StopVM", vm="one", turn_off=True)["state"] == "off", "it runs")
        kept = daemon.vm("one")["settings"]
        daemon.restart()
        expect(daemon.vm("one")["settings"] == kept, "the disk has something else")
        expect(daemon.start_vm("one")["waiting"] == [], "it does not start with all it has")


@test
def settings_survive_a_daemon_killed_between_writes(place):
    with Daemon(place) as daemon:
        daemon.create("one")
        for turn in range(12):
            seen = []

            def write():
                try:
                    with daemon.client() as client:
                        for number in range(1000):
                            client.call("SetVM", vm="one", change={"notes": f"{turn} {number}"})
                            seen.append(f"{turn} {number}")
                except (AssertionError, OSError):
                    pass  # the daemon was killed

            writer = threading.Thread(target=write)
            writer.start()
            wait_for(lambda: len(seen) > turn, "a change")
            daemon.kill()
            writer.join()
            daemon.start()
            notes = daemon.vm("one")["settings"]["notes"]
            last = int(seen[-1].split()[1])
            expect(notes in (f"{turn} {last}", f"{turn} {last + 1}"),
                   f"{notes!r}, but {seen[-1]!r} was answered")
        expect(len(os.listdir(os.path.join(daemon.state, "vms"))) == 1, "something is left")


@test
def many_vms_are_defined(place):
    count = 120
    with Daemon(place) as daemon:
        with daemon.client() as client:
            for number in range(count):
                client.call("CreateVM", settings={
                    "version": 1, "name": f"vm{number:03}", "processors": {"count": 1},
                    "memory": {"startup": 16 << 20}, "boot": {"kernel": "/boot/vmlinuz"}})
        names = [f"vm{number:03}" for number in range(count)]
        expect(list(daemon.vms()) == names, "the list is not by name")
        daemon.restart()
        expect(list(daemon.vms()) == names, "some are missing")
        host = daemon.call("ShowHost")
        expect(host["vms"] == count and host["running"] == 0, host)


@test
def vms_are_started_with_the_host_once_a_boot(place):
    with Daemon(place) as daemon:
        daemon.create("always", start_action={"kind": "always"})
        daemon.create("ran", start_action={"kind": "if_ran"})
        daemon.create("idle", start_action={"kind": "if_ran"})
        daemon.create("never")
        for name in ("ran", "never"):
            daemon.start_vm(name)
        daemon.restart()
        expect(daemon.vm("always")["state"] == "off", "a mere restart of the daemon starts VMs")
        # A host that goes down orderly, and comes up again with another boot.
        shutdown = subprocess.run([VMMS, "--socket", daemon.socket, "--shutdown"],
                                  capture_output=True, text=True, timeout=PATIENCE)
        expect(shutdown.returncode == 0, shutdown)
        expect({vm["state"] for vm in daemon.vms().values()} == {"off"}, daemon.vms())
        daemon.end()
        path = os.path.join(daemon.state, "autostart.json")
        with open(path, encoding="utf-8") as file:
            note = json.load(file)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(dict(note, boot_id="the one before"), file)
        daemon.start()
        for name in ("always", "ran"):
            expect(daemon.wait(name, "running")["state"] == "running", name)
        states = {name: vm["state"] for name, vm in daemon.vms().items()}
        expect(states["idle"] == "off" and states["never"] == "off", states)


@test
def a_host_that_is_cut_off_is_noticed(place):
    with Daemon(place) as daemon:
        daemon.create("ran", start_action={"kind": "if_ran"})
        vm = daemon.start_vm("ran")
        daemon.kill()
        for pid in (vm["supervisor"], vm["worker"]):
            os.kill(pid, signal.SIGKILL)
        folder = os.path.join(daemon.run, "vms", vm["uuid"])
        for name in os.listdir(folder):  # /run begins empty
            os.unlink(os.path.join(folder, name))
        with open(os.path.join(daemon.state, "autostart.json"), "w", encoding="utf-8") as file:
            json.dump({"boot_id": "the one before", "ran": []}, file)
        wait_for(lambda: gone(vm["worker"]), "its end")
        daemon.start()
        expect(daemon.wait("ran", "running")["worker"] != vm["worker"], "it is the same")


@test
def who_waits_is_answered(place):
    with Daemon(place) as daemon, daemon.client() as waiter, daemon.client() as other:
        daemon.create("one")
        waiter.send("WaitVM", vm="one", states=["running"])
        daemon.start_vm("one")
        expect(waiter.reply()["vm"]["state"] == "running", "running was missed")
        waiter.send("WaitVM", vm="one")
        daemon.fails("Timeout", "WaitVM", vm="one", timeout=1)
        other.send("WaitVM", vm="one", states=["paused"])
        other.socket.close()
        daemon.call("StopVM", vm="one", turn_off=True)
        expect(waiter.reply()["vm"]["state"] == "off", "off was missed")
        waiter.send("WaitVM", vm="one", states=["running"])
        daemon.call("RemoveVM", vm="one")
        try:
            waiter.reply()
            raise AssertionError("a VM that is gone was waited for")
        except Refused as refused:
            expect(refused.error == "NotFound", refused)
        daemon.fails("NotFound", "StartVM", vm="one")


@test
def events_have_a_past(place):
    with Daemon(place) as daemon:
        for number in range(3):
            daemon.create(f"vm{number}")
        with daemon.client() as client:
            client.send("WatchEvents", more=True, history=2)
            past = [client.reply() for _ in range(2)]
            expect([event["name"] for event in past] == ["vm1", "vm2"], past)
            daemon.call("RemoveVM", vm="vm0")
            event = client.reply()
            expect(event["event"] == "removed" and event["name"] == "vm0", event)
            expect(event["sequence"] == past[1]["sequence"] + 1, event)
        daemon.fails("ExpectedMore", "WatchEvents")
        with daemon.client() as client:
            client.send("WatchEvents", more=True, vm="vm0")
            refused = client.message()
            expect(refused["error"].endswith(".NotFound"), refused)


if __name__ == "__main__":
    sys.exit(main())
