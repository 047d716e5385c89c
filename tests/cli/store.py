#!/usr/bin/env python3
"""What bulkhead-vmms keeps of its VMs, whatever becomes of it; TAP on standard output.

    store.py BULKHEAD PAYLOADS
"""

import json
import os
import random
import subprocess
import sys

from daemon import VMMS, Daemon, Refused
from harness import PATIENCE, expect, main, test

MANY = 500


def define(daemon, name, **settings):
    """A VM that is never started."""
    whole = {"version": 1, "name": name, "processors": {"count": 1},
             "memory": {"startup": 16 << 20}, "boot": {"kernel": "/kernel"}, **settings}
    return daemon.call("CreateVM", settings=whole)["vm"]


def file_of(daemon, uuid):
    return os.path.join(daemon.state, "vms", f"{uuid}.json")


def expect_refused(error, function, *arguments, **members):
    try:
        function(*arguments, **members)
    except Refused as refused:
        expect(refused.error == error, refused)
        return refused
    raise AssertionError("it went well")


def expect_told(place, daemon, *uuids):
    """An administrator hears of files that define no VM by looking at the host, and at the list."""
    place.environment["BULKHEAD_SOCKET"] = daemon.socket
    checks = place.does("host", "show")
    listed = place.run("vm", "list")
    expect(listed.returncode == 0 and ("define" in listed.stderr) == bool(uuids), listed)
    expect(daemon.call("ListVMs").get("unread", 0) == len(uuids), daemon.call("ListVMs"))
    expect(all(uuid in checks for uuid in uuids), checks)
    expect(checks.count("/vms/") == len(uuids), checks)


@test
def five_hundred_vms_are_kept(place):
    names = [f"vm-{i:03}" for i in range(MANY)]
    with Daemon(place) as daemon:
        with daemon.client() as client:
            for name in names:
                client.call("CreateVM", settings={
                    "version": 1, "name": name, "processors": {"count": 2},
                    "memory": {"startup": 16 << 20}, "boot": {"kernel": "/kernel"},
                    "disks": [{"kind": "disk", "path": f"/{name}.vhdx"}],
                    "nics": [{"kind": "user"}]})
        before = daemon.vms()
        expect(sorted(before) == names, f"{len(before)} VMs")
        addresses = {vm["settings"]["nics"][0]["mac"] for vm in map(daemon.vm, names[:100])}
        expect(len(addresses) > 98, f"{len(addresses)} addresses")
        daemon.restart()
        after = daemon.vms()
        expect({n: v["uuid"] for n, v in after.items()} ==
               {n: v["uuid"] for n, v in before.items()}, "others are back")
        place.environment["BULKHEAD_SOCKET"] = daemon.socket
        listed = place.does("vm", "list")
        expect(all(name in listed for name in names), "not all are listed")
        for name in names:
            daemon.call("RemoveVM", vm=name)
        daemon.restart()
        expect(not daemon.vms(), "some are back")


@test
def broken_files_stop_nobody(place):
    with Daemon(place) as daemon:
        good, torn, mended, newer = (define(daemon, name)["uuid"]
                                     for name in ("good", "torn", "mended", "newer"))
        daemon.kill()
        with open(file_of(daemon, torn), "r+", encoding="utf-8") as file:
            file.truncate(100)
        with open(file_of(daemon, mended), encoding="utf-8") as file:
            settings = json.load(file)
        settings["processors"]["cuont"] = 4
        with open(file_of(daemon, mended), "w", encoding="utf-8") as file:
            json.dump(settings, file)
        with open(file_of(daemon, newer), "w", encoding="utf-8") as file:
            json.dump({"version": 2, "name": "newer"}, file)
        daemon.start()
        expect(set(daemon.vms()) == {"good"}, daemon.vms())
        expect_told(place, daemon, torn, mended, newer)
        said = daemon.said()
        for uuid, why in ((torn, "JSON"), (mended, "processors.cuont")):
            line = [line for line in said.splitlines() if uuid in line]
            expect(len(line) == 1 and why in line[0], said)
            expect(os.path.exists(file_of(daemon, uuid) + ".broken-1"), "it is not set aside")
        with daemon.client() as client:
            event = client.send("WatchEvents", more=True, history=100).reply()
            expect(event["event"] == "set-aside" and
                   any(uuid in json.dumps(event) for uuid in (torn, mended, newer)), event)
        expect(daemon.vm(good)["name"] == "good", "it is another VM")
        # What a newer daemon wrote is no VM of ours to write over.
        refused = expect_refused("Failed", define, daemon, "other", uuid=newer)
        expect(newer in refused.message, refused)
        with open(file_of(daemon, newer), encoding="utf-8") as file:
            expect(json.load(file)["version"] == 2, "it was written over")
        # As the sentence says: mended, named as before, and the daemon started anew.
        del settings["processors"]["cuont"]
        with open(file_of(daemon, mended), "w", encoding="utf-8") as file:
            json.dump(settings, file)
        os.unlink(file_of(daemon, newer))
        daemon.restart()
        expect(set(daemon.vms()) == {"good", "mended"}, daemon.vms())
        expect_told(place, daemon, torn)
        os.unlink(file_of(daemon, torn) + ".broken-1")
        daemon.restart()
        expect_told(place, daemon)


@test
def a_state_that_is_taken_away_is_not_written(place):
    with Daemon(place) as daemon:
        uuid = define(daemon, "a", notes="old")["uuid"]
        vms = os.path.join(daemon.state, "vms")
        os.rename(vms, vms + ".away")
        for _ in range(2):
            refused = daemon.fails("Failed", "SetVM", vm="a", change={"notes": "new"})
            expect(vms in refused["message"], refused)
            daemon.fails("Failed", "RemoveVM", vm="a")
            os.makedirs(vms, exist_ok=True)
        os.rmdir(vms)
        os.rename(vms + ".away", vms)
        expect(daemon.vm("a")["settings"]["notes"] == "old", daemon.vm("a"))
        daemon.call("SetVM", vm="a", change={"notes": "new"})
        daemon.restart()
        expect(daemon.vm(uuid)["settings"]["notes"] == "new", daemon.vm(uuid))


@test
def what_was_promised_outlives_the_daemon(place):
    """Killed at any moment of many changes, it forgets none that it answered."""
    dice = random.Random(4)
    with Daemon(place) as daemon:
        define(daemon, "a")
        for _ in range(8):
            promised = daemon.vm("a")["settings"].get("notes", "")
            client = daemon.client()
            changes = [f"{i} " + "x" * dice.randrange(3000) for i in range(50)]
            for notes in changes:
                client.send("SetVM", vm="a", change={"notes": notes})
            for _ in range(dice.randrange(30)):
                promised = client.reply()["vm"]["settings"]["notes"]
            daemon.restart()
            client.socket.close()
            found = daemon.vm("a")["settings"].get("notes", "")
            expect(found == promised or found in changes and
                   (promised not in changes or changes.index(found) > changes.index(promised)),
                   f"{found[:20]!r} after {promised[:20]!r}")
            expect("does not define" not in daemon.said(), daemon.said())
            left = os.listdir(os.path.join(daemon.state, "vms"))
            expect(len(left) == 1, left)


@test
def a_full_disk_changes_nothing(place):
    with Daemon(place, prefix=("prlimit", "--fsize=4096")) as daemon:
        uuid = define(daemon, "a", notes="small")["uuid"]
        refused = daemon.fails("Failed", "SetVM", vm="a", change={"notes": "x" * 8000})
        expect("as it was" in refused["message"], refused)
        expect_refused("Failed", define, daemon, "b", notes="x" * 8000)
        settings = daemon.vm("a")["settings"]
        expect(settings["notes"] == "small" and settings["revision"] == 1, settings)
        expect(set(daemon.vms()) == {"a"}, daemon.vms())
        expect(os.listdir(os.path.join(daemon.state, "vms")) == [f"{uuid}.json"],
               os.listdir(os.path.join(daemon.state, "vms")))
        changed = daemon.call("SetVM", vm="a", change={"notes": "other"})["vm"]["settings"]
        expect(changed["revision"] == 2, changed)
        daemon.restart()
        expect(daemon.vm("a")["settings"] == changed, daemon.vm("a"))


@test
def one_daemon_has_a_state(place):
    with Daemon(place) as daemon:
        second = subprocess.run(
            [VMMS, "--socket", os.path.join(place.path, "other.sock"), "--state", daemon.state],
            env=place.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE, check=False)
        expect(second.returncode != 0 and second.stderr.count("\n") == 1, second)
        expect("--state" in second.stderr, second.stderr)
        expect(daemon.answers(), "the first one has ended")


@test
def wrong_settings_are_named(place):
    with Daemon(place) as daemon:
        define(daemon, "a")
        wrong = [({"memory": {"startup": 1}}, "memory.startup"),
                 ({"colour": "red"}, "colour"),
                 ({"disks": [{"kind": "disk", "path": "relative"}]}, "disks[0].path"),
                 ({"name": "6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1"}, "name"),
                 ({"uuid": "6e0c6d8e-8d0b-4a61-9d35-0d6f3f0ad5f1"}, "uuid")]
        for change, member in wrong:
            refused = daemon.fails("BadSettings", "SetVM", vm="a", change=change)
            expect(refused["member"] == member, refused)
        expect(daemon.vm("a")["settings"]["revision"] == 1, "something was changed")


sys.exit(main())
