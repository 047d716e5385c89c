#!/usr/bin/env python3
"""Workers that a guest got hold of, against their supervisor and the daemon; TAP on standard output.

    hostile.py BULKHEAD PAYLOADS
"""

import os
import sys

from daemon import Daemon, Refused
from harness import expect, main, test, wait_for

AT_ONCE = 64  # src/mgmt/supervisor_told.c
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hostile_worker.py")


def daemon_of(place):
    place.environment["BULKHEAD_VMWP"] = WORKER
    return Daemon(place, "--no-journal")


@test
def what_a_worker_tells_drives_out_nobody_elses_events(place):
    with daemon_of(place) as daemon:
        daemon.create("quiet")
        daemon.create("flood")
        daemon.start_vm("flood")
        wait_for(lambda: "forged 9" in daemon.said(), "the flood")
        daemon.call("StopVM", vm="flood", turn_off=True)
        expect(daemon.vm("flood")["state"].startswith("off"), daemon.vm("flood"))
        with daemon.client() as client:
            client.send("WatchEvents", more=True, vm="quiet", history=1024)
            expect(client.reply()["event"] == "created", "it was driven out")
        told = daemon.said().count("\n")
        expect(told < 4 * AT_ONCE, told)


@test
def a_worker_that_answers_with_too_much_is_killed(place):
    with daemon_of(place) as daemon:
        daemon.create("overfeed")
        daemon.start_vm("overfeed")
        try:
            daemon.call("Inspect", vm="overfeed")
            raise AssertionError("its answer was taken")
        except Refused:
            pass
        vm = daemon.wait("overfeed", "off", "off_after_crash")
        expect(vm["state"] == "off_after_crash" and "nobody can read" in vm["reason"], vm)


@test
def what_a_worker_writes_is_told_as_its_own(place):
    with daemon_of(place) as daemon:
        daemon.create("forge")
        daemon.start_vm("forge")
        daemon.call("StopVM", vm="forge", turn_off=True)
        lines = daemon.said().splitlines()
        forged = [line for line in lines if "forged" in line]
        expect(len([line for line in forged if line.startswith("bulkhead-worker[")]) == 18, lines)
        expect(len([line for line in forged if line.startswith("bulkhead: |")]) == 3, lines)
        expect(len(forged) == 21, lines)
        expect("\x1b" not in daemon.said() and "\r" not in daemon.said(), lines)


@test
def a_worker_gets_no_parent_that_its_disk_was_not_made_from(place):
    """Who writes to a disk's file writes the name of its parent, too."""
    parent, child, other = (os.path.join(place.path, name + ".vhdx")
                            for name in ("parent", "child", "other"))
    place.does("disk", "create", parent, "--size", "16M")
    place.does("disk", "create", child, "--parent", parent)
    place.does("disk", "create", other, "--size", "16M")
    with daemon_of(place) as daemon:
        daemon.create("forge", disks=[{"kind": "disk", "path": child}])
        daemon.start_vm("forge")
        daemon.call("StopVM", vm="forge", turn_off=True)
        os.rename(other, parent)
        try:
            daemon.start_vm("forge")
            raise AssertionError("it got the other file")
        except Refused as refused:
            expect("parent" in refused.message, refused)


sys.exit(main())
