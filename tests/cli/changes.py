#!/usr/bin/env python3
"""What becomes of a VM whose settings change while it runs; TAP on standard output.

    changes.py BULKHEAD PAYLOADS KILL_AT
"""

import contextlib
import json
import os
import random
import signal
import socket
import sys
import threading

from daemon import Apart, Daemon, Refused
from harness import PATIENCE, expect, main, test, wait_for

KILL_AT = sys.argv[3]


@contextlib.contextmanager
def network():
    """A network without anything but a loopback interface; nobody is left in it."""
    with Apart("ip link set lo up", "--net") as apart:
        expect(apart.works, "no network namespace")
        network = os.stat(f"/proc/{apart.process.pid}/ns/net").st_ino
        try:
            yield apart
        finally:
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    if int(pid) != apart.process.pid and \
                            os.stat(f"/proc/{pid}/ns/net").st_ino == network:
                        os.kill(int(pid), signal.SIGKILL)


def taps(apart):
    """The names of those in a network, which are ports of its bridge."""
    return [link["ifname"] for link in json.loads(apart.does("ip", "-json", "link"))
            if link.get("master")]


def netvsps(daemon, name):
    devices = daemon.call("Inspect", vm=name)["tree"]["devices"]
    return [node["figures"] for device, node in devices.items() if device.startswith("netvsp")]


@test
def a_nic_joins_a_switch_while_the_vm_runs(place):
    if os.geteuid() or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return  # nobody else may make one
    with network() as apart, Daemon(place, apart=apart) as daemon:
        daemon.create("one", processors={"count": 2})
        daemon.start_vm("one")
        lan = {"name": "lan", "kind": "switch", "switch": "default", "queues": 2}
        daemon.fails("Failed", "AttachNic", vm="one", nic=dict(lan, switch="none"))
        expect(daemon.vm("one")["settings"]["nics"] == [], "what was refused is kept")
        made = daemon.call("AttachNic", vm="one", nic=lan)["nic"]
        expect(made["mac"] and len(taps(apart)) == 1, made, taps(apart))
        expect([nic["backend"] for nic in netvsps(daemon, "one")] == ["tap"], netvsps(daemon, "one"))
        daemon.restart()
        expect(daemon.vm("one")["waiting"] == [], daemon.vm("one"))
        # To another switch, or with more queues, is out and in again.
        reply = daemon.call("SetVM", vm="one", change={"nics": [dict(made, queues=1)]})
        expect(reply["applied"] == ["nics.lan"] and reply["waiting"] == [], reply)
        expect(len(taps(apart)) == 1 and len(netvsps(daemon, "one")) == 1, taps(apart))
        reply = daemon.call("SetNic", vm="one", nic="lan", bandwidth=1000000)
        expect(reply["nic"]["bandwidth"] == 1000000, reply)
        daemon.call("DetachNic", vm="one", nic="lan")
        expect(taps(apart) == [] and netvsps(daemon, "one") == [], taps(apart))
        daemon.call("AttachNic", vm="one", nic=lan)
        expect(daemon.call("RestartVM", vm="one", turn_off=True)["state"] == "running", "again")
        expect(len(taps(apart)) == 1 and len(netvsps(daemon, "one")) == 1, taps(apart))
        daemon.call("StopVM", vm="one", turn_off=True)

def disks_of_guest(daemon, name):
    """What the VM itself says that it has."""
    scsi = daemon.call("Inspect", vm=name)["tree"]["devices"]["scsi"]
    limits = {number: scsi[f"limits@{number}"] for number in range(64) if f"limits@{number}" in scsi}
    return {int(lun.split("@")[1]): (figures["name"], limits.get(int(lun[4:]), {}).get("iops", 0))
            for lun, figures in scsi["figures"].items() if lun.startswith("lun@")}


def controllers_of_guest(daemon, name):
    devices = daemon.call("Inspect", vm=name)["tree"]["devices"]
    return sum(device.startswith("scsi") for device in devices)


def disks_of_definition(vm):
    return {disk["lun"]: (disk["path"], disk.get("iops", 0)) for disk in vm["settings"]["disks"]}


def disk(place, name, lun, **more):
    path = os.path.join(place.path, name)
    if not os.path.exists(path):
        place.file(name, b"\0" * 65536)
    return {"name": name, "kind": "disk", "path": path, "lun": lun, **more}


def expect_whole(daemon, name):
    """Once the daemon has nothing left to do: the guest has what its definition says."""
    wait_for(lambda: all("change" not in note for note in daemon.notes()), "the change's end")
    vm = daemon.vm(name)
    expect(vm["state"] == "running" and vm["waiting"] == [], vm)
    expect(disks_of_guest(daemon, name) == disks_of_definition(vm), disks_of_guest(daemon, name), vm)
    expect(len(netvsps(daemon, name)) == len(vm["settings"]["nics"]), netvsps(daemon, name), vm)
    expect(controllers_of_guest(daemon, name) == vm["settings"]["controllers"], vm)
    note = next(daemon.notes())
    expect(note["settings"]["disks"] == vm["settings"]["disks"], note, vm)
    return vm["settings"]


def essence(settings):
    return {key: value for key, value in settings.items() if key != "revision"}


def kill_at_each_point(place, daemon, base, method, parameters):
    """Makes a change again and again, with the daemon killed before each thing that it does for it."""
    at = place.environment["KILL_AT"]
    number, answered, after = 0, False, None
    while not answered:
        number += 1
        before = essence(daemon.call("SetVM", vm="one", change=base)["vm"]["settings"])
        with daemon.client() as client, open(at + ".new", "w", encoding="utf-8") as file:
            file.write(str(number))
            file.flush()
            os.rename(at + ".new", at)
            client.send(method, vm="one", **parameters)
            answer = client.message()
            os.unlink(at)
        answered = answer is not None
        expect(not answered or "error" not in answer, answer)
        if not answered:
            daemon.process.wait(PATIENCE)
            daemon.start()
        settings = essence(expect_whole(daemon, "one"))
        if settings != before:
            after = after or settings
        expect(settings in (before, after), number, settings, before, after)
        expect(not answered or settings == after, "it was answered, and not done")
    expect(number > 5 and after, f"{method} has {number} points")


@test
def a_daemon_killed_at_any_point_of_a_change_leaves_it_whole(place):
    place.environment.update(LD_PRELOAD=KILL_AT, KILL_AT=os.path.join(place.path, "kill"),
                             ASAN_OPTIONS="verify_asan_link_order=0")
    with Daemon(place) as daemon:
        daemon.create("one")
        daemon.start_vm("one")
        a, b, c = (disk(place, name, lun) for lun, name in enumerate(("a", "b", "c")))
        base = {"disks": [a], "nics": [], "notes": "", "controllers": 1}
        peer = socket.socket(socket.AF_UNIX)
        peer.bind(os.path.join(place.path, "peer"))
        peer.listen(1000)
        nic = {"name": "n", "kind": "stream", "path": peer.getsockname()}
        for method, parameters in (
                ("AttachDisk", {"disk": b}),
                ("DetachDisk", {"disk": "a"}),
                ("SetDisk", {"disk": "a", "iops": 100}),
                ("SetVM", {"change": {"disks": [b, c], "notes": "two for one"}}),
                ("AttachNic", {"nic": nic})):
            kill_at_each_point(place, daemon, base, method, parameters)
        for count, method, parameters in ((1, "AttachController", {}),
                                          (2, "DetachController", {"controller": "scsi1"})):
            kill_at_each_point(place, daemon, {**base, "controllers": count}, method, parameters)
        peer.close()

def race(clients, act):
    """Has each client act at the same moment, with its number; what they returned, in that order."""
    barrier, results = threading.Barrier(clients), [None] * clients

    def run(number):
        try:
            barrier.wait()
            results[number] = act(number)
        except Exception as error:  # told by the main thread
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [result for result in results if isinstance(result, Exception)]
    expect(not wrong, wrong)
    return results


def outcome(daemon, method, **parameters):
    """Whether a call went well, or its error's name."""
    try:
        daemon.call(method, **parameters)
        return True
    except Refused as refused:
        expect(refused.message, refused)
        return refused.error


@test
def of_changes_to_one_revision_one_is_made(place):
    with Daemon(place) as daemon:
        revision = daemon.create("one")["settings"]["revision"]
        results = race(8, lambda number: outcome(daemon, "SetVM", vm="one", revision=revision,
                                                 change={"notes": f"by {number}"}))
        expect(sorted(map(str, results)) == ["Conflict"] * 7 + ["True"], results)
        settings = daemon.vm("one")["settings"]
        expect(settings["notes"] == f"by {results.index(True)}" and
               settings["revision"] == revision + 1, settings)
        results = race(8, lambda number: outcome(daemon, "RenameVM", vm=settings["uuid"],
                                                 name=f"name{number}"))
        expect(results == [True] * 8 and len(daemon.vms()) == 1, results, daemon.vms())
        results = race(8, lambda number: outcome(daemon, "RemoveVM", vm=settings["uuid"]))
        expect(sorted(map(str, results)) == ["NotFound"] * 7 + ["True"], results)
        results = race(8, lambda number: outcome(daemon, "CreateVM",
                                                 settings=dict(settings, revision=1, name="one")))
        expect(sorted(map(str, results)) == ["Exists"] * 7 + ["True"], results)


@test
def races_of_all_that_changes_a_vm_leave_nothing_half_done(place):
    """One makes and removes VMs that others rename, change, start and stop."""
    rounds, names = 12, ("one", "two", "three")
    allowed = (True, "WrongState", "Conflict", "Exists", "NotFound", "Failed")
    with Daemon(place) as daemon:
        settings = {key: value for key, value in daemon.create("one")["settings"].items()
                    if key not in ("uuid", "revision", "disks", "nics")}

        def mutate(number):
            chance = random.Random(number)
            image = disk(place, f"image{number}", number)
            for turn in range(rounds):
                name = chance.choice(names)
                method, parameters = chance.choice([
                    ("CreateVM", {"settings": dict(settings, name=name)}),
                    ("RemoveVM", {"vm": name}),
                    ("RenameVM", {"vm": name, "name": chance.choice(names)}),
                    ("SetVM", {"vm": name, "change": {"notes": f"{number} {turn}"}}),
                    ("SetVM", {"vm": name, "revision": turn, "change": {"disks": [image]}}),
                    ("AttachDisk", {"vm": name, "disk": image}),
                    ("DetachDisk", {"vm": name, "disk": image["name"]}),
                    ("StartVM", {"vm": name}),
                    ("StartVM", {"vm": name}),
                    ("StopVM", {"vm": name, "turn_off": True}),
                ])
                result = outcome(daemon, method, **parameters)
                expect(result in allowed, method, parameters, result)

        race(6, mutate)
        expect(daemon.answers(), "the daemon")
        listed = {vm["uuid"]: vm for vm in daemon.vms().values()}
        on_disk = {name.removesuffix(".json") for name in os.listdir(os.path.join(daemon.state, "vms"))}
        expect(on_disk == set(listed), on_disk, listed)
        running = {uuid for uuid, vm in listed.items() if vm["state"] == "running"}
        expect({note["uuid"] for note in daemon.notes()} == running, running)
        kept = {uuid: daemon.vm(uuid) for uuid in listed}
        daemon.restart()
        for uuid, vm in kept.items():
            now = daemon.vm(uuid)
            expect(now["settings"] == vm["settings"] and now["waiting"] == vm["waiting"], now, vm)
            expect(now.get("worker") == vm.get("worker"), now, vm)
        for uuid in running:
            expect(disks_of_guest(daemon, uuid) == disks_of_definition(daemon.vm(uuid)), uuid)


if __name__ == "__main__":
    sys.exit(main())
