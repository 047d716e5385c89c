#!/usr/bin/env python3
"""A VM's NICs; TAP on standard output.

    network.py BULKHEAD PAYLOADS
"""

import os
import socket
import sys

from harness import PATIENCE, Skip, Vm, expect, expect_failure, listen, main, need_kvm, test


@test
def nics_are_written_right(place):
    kernel = ["--kernel", place.file("kernel")]
    for value in ("", "foo", "tap", "tap=", "tap=a/b", "tap=..", "tap=sixteen-letters-", "stream=",
                  "user,", "user,mac", "user,mac=", "user,mac=00:15:5d:01:02", "user,queues=2",
                  "user,mac=00:15:5d:01:02:0g", "user,mac=01:15:5d:01:02:03",
                  "user,mac=00:00:00:00:00:00", "tap=x,queues=0", "tap=x,queues=17",
                  "tap=x,queues=", "user,colour=red"):
        expect_failure(place.run("run", *kernel, "--nic", value), 2, "--nic")
    same = ["--nic", "user,mac=00:15:5d:01:02:03"]
    expect_failure(place.run("run", *kernel, *same, *same), 2, "--nic", "same address")
    expect_failure(place.run("run", *kernel, *["--nic", "user"] * 9), 2, "--nic", "8")


@test
def nics_that_are_not_there_are_refused(place):
    kernel = ["--kernel", place.file("kernel")]
    need_kvm()
    for value, *words in (("switch", "vm create"), ("tap=no-such-tap", "no interface"), ("tap=lo", "not a tap"),
                          (f"stream={place.path}/none", "no such socket"),
                          (f"stream={place.file('plain')}", "nobody listens"),
                          (f"stream={place.path}/datagrams", "no stream socket")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            if "datagrams" in value:
                datagrams.bind(f"{place.path}/datagrams")
            expect_failure(place.run("run", *kernel, "--nic", value), 1, f"--nic {value}", *words)


@test
def user_networking_names_its_package(place):
    kernel = ["--kernel", place.file("kernel")]
    need_kvm()
    place.environment["PATH"] = place.path
    expect_failure(place.run("run", *kernel, "--nic", "user"), 1, "--nic user", "package passt")


@test
def a_nic_is_pulled_out(place):
    path = os.path.join(place.path, "wire")
    with listen(path) as listener:
        with Vm(place, "--nic", "stream=" + path) as vm:
            wire, _ = listener.accept()
            wire.settimeout(PATIENCE)
            expect("netvsp@nic0" in place.run("inspect", "vm").stdout, "the NIC is there")
            expect_failure(place.run("nic", "detach", "vm", "scsi"), 2, "scsi")
            expect_failure(place.run("nic", "detach", "vm", "nic1"), 1, "nic1")
            place.does("nic", "detach", "vm", "nic0")
            expect(wire.recv(1) == b"", "the worker lets go of the socket")
            expect("netvsp" not in place.run("inspect", "vm").stdout, "the NIC is gone")
            expect_failure(place.run("nic", "detach", "vm", "nic0"), 1, "nic0")


@test
def nics_come_and_go(place):
    path = os.path.join(place.path, "wire")
    with listen(path) as listener:
        with Vm(place) as vm:
            before = vm.descriptors()
            addresses = set()
            for count in range(20):
                nic = place.does("nic", "attach", "vm", "stream=wire,bandwidth=3M")
                expect(nic == "nic0\n", nic)
                wire, _ = listener.accept()
                wire.settimeout(PATIENCE)
                nic = vm.tree()["devices"]["netvsp@nic0"]
                expect(nic["bandwidth"] == 3000000, nic)
                addresses.add(str(nic["mac"]))
                place.does("nic", "detach", "vm", "nic0")
                expect(wire.recv(1) == b"", "the worker lets go of the socket")
                wire.close()
            expect(len(addresses) == 1, addresses)
            fine = ",mac=00:15:5d:01:02:03"
            for count in range(8):
                result = place.reply("nic", "attach", "vm", f"stream={path}" + fine)
                expect(result == {"nic": f"nic{count}"}, result)
                fine = ""
            expect_failure(place.run("nic", "attach", "vm", f"stream={path}"), 1, "8 NICs")
            place.does("nic", "detach", "vm", "nic5")
            same = f"stream={path},mac=00:15:5d:01:02:03"
            expect_failure(place.run("nic", "attach", "vm", same), 1, "same address")
            expect_failure(place.run("nic", "attach", "vm", "stream=/none"), 1, "no such socket")
            expect_failure(place.run("nic", "attach", "vm", "wire=1"), 2, "tap=INTERFACE")
            expect_failure(place.run("nic", "attach", "vm"), 2, "--nic")
            expect(place.does("nic", "attach", "vm", f"stream={path}") == "nic5\n", "again")
            for count in range(8):
                place.run("nic", "detach", "vm", f"nic{count}")
            expect(vm.descriptors() == before, f"{before} descriptors, then {vm.descriptors()}")


@test
def a_user_nic_brings_its_helper(place):
    if not any(os.access(os.path.join(directory, "passt"), os.X_OK)
               for directory in os.environ["PATH"].split(":")):
        raise Skip("no passt")
    with Vm(place) as vm:
        for _ in range(3):
            expect(place.does("nic", "attach", "vm", "user") == "nic0\n", "its name")
            expect(len(vm.helpers()) == 1, "passt runs")
            place.does("nic", "detach", "vm", "nic0")
            expect(not vm.helpers(), "passt has ended")
        place.does("nic", "attach", "vm", "user")
        vm.end()
        expect("passt" not in vm.said(), vm.said())


sys.exit(main())
