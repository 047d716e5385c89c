#!/usr/bin/env python3
"""What a running VM tells of itself: counters, traces, faults; TAP on standard output.

    traces.py BULKHEAD PAYLOADS
"""

import json
import os
import shutil
import subprocess
import sys

from callers import ADMINISTRATOR, ROOT, STRANGER, User, caller_of_files, daemon_of
from daemon import children, descendants, idle
from harness import PATIENCE, Skip, Vm, expect, expect_failure, main, payload, test, wait_for
from varlink_client import CallError, Connection, Service

SHOW = "io.bulkhead.VMMS.ShowTrace"
STREAM = 2 << 20  # of replies, and who leaves them unread is cut off: src/base/varlink.h
# A bulkhead-trace that a file got hold of: it takes the message with the file, and says that.
FORGER = """#!/bin/sh
/usr/bin/head -c 3 <&3 >/dev/null
printf '%b' '{}\\000' >&3
"""


def make_disk(place):
    return place.file("disk", bytes(1 << 20))


@test
def counters_are_printed(place):
    with Vm(place, "--disk", make_disk(place), "--cpus", "2"):
        text = place.does("counters", "vm")
        expect("CHANNEL" in text and "scsi0" in text and "heartbeat0" in text, text)
        expect("scsi lun 0" in text, text)
        tree = place.reply("counters", "vm")
        expect(tree["devices"]["scsi"]["lun@0"]["reads"] == 0, tree)
        expect(tree["channels"]["channel@1"]["packets-in"] == 0, tree)
        expect_failure(place.run("counters", "nobody"), 5, "nobody")
        place.does("nmi", "vm", "--vp", "1")
        expect_failure(place.run("nmi", "vm", "--vp", "2"), 1, "processor 2")
        expect_failure(place.run("nmi", "vm", "--vp", "x"), 2, "--vp x")


def trace_guest(place, *arguments):
    """Runs the VMBus payload to its end, traced."""
    place.does("run", "--kernel", payload("vmbus"), "--debug-exit", "--console", "none",
               "--disk", make_disk(place), "--trace", "vmbus=trace.pcapng", *arguments)


@test
def a_trace_shows_every_message_by_name(place):
    trace_guest(place)
    events = [json.loads(line) for line in
              place.does("trace", "show", "trace.pcapng", "--json").splitlines()]
    names = {event["name"] for event in events}
    wanted = {f"CHANNELMSG_{name}" for name in (
        "INITIATE_CONTACT", "VERSION_RESPONSE", "REQUESTOFFERS", "OFFERCHANNEL",
        "ALLOFFERS_DELIVERED", "GPADL_HEADER", "GPADL_BODY", "GPADL_CREATED", "OPENCHANNEL",
        "OPENCHANNEL_RESULT", "CLOSECHANNEL", "GPADL_TEARDOWN", "GPADL_TORNDOWN", "UNLOAD",
        "UNLOAD_RESPONSE")}
    wanted |= {f"VSTOR_OPERATION_{name}" for name in (
        "BEGIN_INITIALIZATION", "QUERY_PROTOCOL_VERSION", "EXECUTE_SRB", "COMPLETE_IO")}
    expect(wanted <= names, wanted - names)
    expect(not [name for name in names if "unknown" in name.lower()], names)
    # Each request has its answer, on the same channel and of the same transaction.
    packets = [event for event in events if event["kind"] == "packet"]
    for way, other in (("from-guest", "to-guest"), ("to-guest", "from-guest")):
        expect(packets and {(e["channel"], e["transaction"]) for e in packets
                            if e["direction"] == way and e["name"] != "VSTOR_OPERATION_ENUMERATE_BUS"}
               <= {(e["channel"], e["transaction"]) for e in packets if e["direction"] == other},
               f"packets {way}")
    times = [event["time_ns"] for event in events]
    expect(all(later - sooner > -1000000000 for sooner, later in zip(times, times[1:])), "times")
    text = place.does("trace", "show", "trace.pcapng")
    expect("LUN 0, WRITE(10) block 0" in text and "version 5.3" in text, text[:2000])
    one = place.does("trace", "show", "trace.pcapng", "--channel", "2").splitlines()
    expect(one and all(" ch2 " in line for line in one), one)


def shown(place, *arguments):
    """The records that the command line prints."""
    return [json.loads(line) for line in
            place.does("trace", "show", "--json", *arguments).splitlines()]


def long_trace(place, size):
    """A trace with more than size bytes of records: sections of the format may follow another."""
    trace_guest(place)
    with open("trace.pcapng", "rb") as file:
        trace = file.read()
    times = size // len(place.does("trace", "show", "--json", "trace.pcapng")) + 1
    return place.file("long.pcapng", trace * times), times


def said_of(service, path, **parameters):
    """The records of each reply, and the last one; or the error that comes instead of it."""
    parts = []
    try:
        for reply in service.stream(SHOW, {"path": path, **parameters}):
            parts.append(reply.pop("records"))
    except CallError as error:
        return parts, error
    return parts, reply


def fails(service, error, path, *words, **parameters):
    try:
        reply = service.call(SHOW, {"path": path, **parameters})
    except CallError as found:
        expect(found.name == f"io.bulkhead.VMMS.{error}", found)
        for word in words:
            expect(word in found.parameters["message"], f"no {word} in: {found}")
        return found.parameters
    raise AssertionError(f"{path} is shown: {reply}")


@test
def the_daemon_shows_what_the_command_line_does(place):
    trace_guest(place)
    path = os.path.join(place.path, "trace.pcapng")
    with daemon_of(place) as daemon:
        service = Service(daemon.socket)
        parts, last = said_of(service, path)
        expect(sum(parts, []) == shown(place, path), "other records")
        expect(all(parts) and len(parts) > 2, [len(part) for part in parts])
        expect(last == {"packets": len(sum(parts, [])), "dropped": 0}, last)
        few = shown(place, "--channel", "2", path)
        expect(few and service.call(SHOW, {"path": path, "channel": 2})["records"] == few,
               "another channel")
        fails(service, "Failed", path, "too long for one reply")
        with open("none.pcapng", "wb") as file, open(path, "rb") as trace:
            header = trace.read(8)  # of the section: a block with its length
            file.write(header + trace.read(int.from_bytes(header[4:], "little") - 8))
        expect(service.call(SHOW, {"path": os.path.join(place.path, "none.pcapng")}) ==
               {"records": []}, "records of none")


@test
def what_a_damaged_trace_has_is_shown_by_the_daemon(place):
    trace_guest(place)
    path = os.path.join(place.path, "trace.pcapng")
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 5)
    with daemon_of(place) as daemon:
        parts, error = said_of(Service(daemon.socket), path)
        told = place.run("trace", "show", "--json", path)
        expect(sum(parts, []) == [json.loads(line) for line in told.stdout.splitlines()], "records")
        expect(f"bulkhead: {error.parameters['message']}\n" == told.stderr, error, told.stderr)


@test
def the_daemon_shows_no_other_files(place):
    with daemon_of(place) as daemon:
        service = Service(daemon.socket)
        expect(fails(service, "BadSettings", "trace.pcapng", "absolute")["member"] == "path", "path")
        junk = place.file("junk", b"x" * 100)
        for channel in (-1, 1 << 32):
            found = fails(service, "BadSettings", junk, "channel", channel=channel)
            expect(found["member"] == "channel", found)
        fails(service, "Failed", junk, "junk", "no trace")
        fails(service, "Failed", place.file("empty", b""), "no trace")
        fails(service, "Failed", place.path, "no file")
        fails(service, "NotFound", os.path.join(place.path, "none"), "none")
        fails(service, "Failed", "/" + "a" * 300000)
        # Those who may not open it are told no more of it.
        user = caller_of_files(daemon)
        secret = place.file("secret", b"x" * 100)
        os.chmod(secret, 0o600 if ROOT else 0)
        expect("secret" in user.fails("Denied", "ShowTrace", path=secret), "another file")
        if ROOT:
            os.chown(secret, ADMINISTRATOR, ADMINISTRATOR)
            user.fails("Failed", "ShowTrace", path=secret)
            User(daemon, STRANGER).fails("Denied", "ShowTrace", path=secret)
        wait_for(lambda: not children(daemon.process.pid), "the end of all that was started")
        expect(not os.path.exists(os.path.join(daemon.state, "audit.log")), "it was noted")
        expect(not daemon.said(), daemon.said())


@test
def a_trace_waits_for_who_reads_it(place):
    """Nobody is cut off, and what is in between holds little; until the client leaves."""
    path, times = long_trace(place, 4 * STREAM)
    records = shown(place, "trace.pcapng")
    with daemon_of(place) as daemon:
        with Connection(daemon.socket) as connection:
            connection.send(SHOW, {"path": path}, more=True)
            first = connection.receive()
            wait_for(lambda: idle(daemon.process.pid), "a rest")
            expect(len(descendants(daemon.process.pid)) >= 2, "all was read")
            expect(daemon.call("ShowHost")["vms"] == 0, "the daemon waits, too")
            found = first["parameters"]["records"]
            while first.get("continues"):
                first = connection.receive()
                found += first["parameters"]["records"]
            expect(found == records * times, f"{len(found)} records")
        with Connection(daemon.socket) as connection:
            connection.send(SHOW, {"path": path}, more=True)
            connection.receive()
            wait_for(lambda: idle(daemon.process.pid), "a rest")
        wait_for(lambda: not children(daemon.process.pid), "the end of all that was started")
        expect(Service(daemon.socket).info, "the daemon")


@test
def what_reads_traces_for_the_daemon_is_not_trusted(place):
    trace = place.file("trace")
    forger = place.environment["BULKHEAD_TRACE"] = os.path.join(place.path, "forger")
    record = ('"time_ns": 1, "kind": "packet", "direction": "to-guest", "channel": 1, "index": 0, '
              '"details": "", "name": ')
    with daemon_of(place) as daemon:
        service = Service(daemon.socket)

        def forge(said):
            place.file("forger", FORGER.replace("{}", said).encode())
            os.chmod(forger, 0o755)

        end = '\\000{"end": {}}'
        forge('{"record": {%s"a", "other": 1}}%s' % (record, end))
        found = service.call(SHOW, {"path": trace})["records"]
        expect([each["name"] for each in found] == ["a"] and "other" not in found[0], found)
        for said in ('{"record": {%s1}}%s' % (record, end), '{"record": []}%s' % end, '{"record": 1}',
                     '{"record": {}}%s' % end, '{"end": {"packets": "1"}}', "[]", "",
                     '{"other": 1}', '{"error": 1}', '{"record": {%s"a"}}' % record):
            forge(said)
            fails(service, "Failed", trace)
        forge('{"record": {%s1, "device": "%s"}}%s' % (record, "a" * (100 << 10), end))
        fails(service, "Failed", trace)
        many = '{"record": {%s1, "device": "%s"}}\\000' % (record, "a" * (60 << 10))
        forge(many * 5 + '{"end": {}}')
        expect(said_of(service, trace)[0] == [], "a part that does not fit")
        wait_for(lambda: not children(daemon.process.pid), "the end of all that was started")


@test
def others_can_read_a_trace(place):
    if not shutil.which("tshark") or not shutil.which("capinfos"):
        raise Skip("tshark is not installed")
    trace_guest(place)
    count = len(place.does("trace", "show", "trace.pcapng").splitlines())
    about = subprocess.run(["capinfos", "-M", "trace.pcapng"], capture_output=True, text=True,
                           timeout=PATIENCE, check=True).stdout
    expect(f"Number of packets:   {count}\n" in about and "USER 0" in about.upper(), about)
    frames = subprocess.run(["tshark", "-n", "-r", "trace.pcapng", "-T", "fields", "-e",
                             "frame.len"], capture_output=True, text=True, timeout=PATIENCE,
                            check=True)
    expect(len(frames.stdout.splitlines()) == count, frames)
    expect("cut short" not in frames.stderr and "damaged" not in frames.stderr, frames.stderr)


@test
def a_running_vm_is_traced(place):
    open("there", "w").close()
    os.chmod("there", 0o600)
    with Vm(place, "--trace", "vmbus=first.pcapng"):
        expect_failure(place.run("trace", "start", "vm", "--vmbus", "second.pcapng"), 1, "already")
        expect(place.does("trace", "stop", "vm") == "0 packets, 0 of them dropped\n", "stop")
        expect_failure(place.run("trace", "stop", "vm"), 1, "not being traced")
        expect_failure(place.run("trace", "start", "vm", "--vmbus", "no/where"), 1, "no/where",
                       "directory")
        expect_failure(place.run("trace", "start", "vm", "--vmbus", "/dev/null"), 1, "/dev/null",
                       "regular")
        expect_failure(place.run("trace", "start", "vm"), 2, "--vmbus")
        place.does("trace", "start", "vm", "--vmbus", "there")
        tree = place.reply("counters", "vm")
        expect(tree["channels"]["trace"]["packets"] == 0, tree)
        expect(place.reply("trace", "stop", "vm")["dropped"] == 0, "stop")
    for name in ("first.pcapng", "there"):
        expect(place.does("trace", "show", name) == "", name)


@test
def trace_files_are_checked(place):
    base = ("run", "--kernel", payload("idle"), "--disk", make_disk(place))
    expect_failure(place.run(*base, "--trace", "x"), 2, "--trace x", "vmbus=FILE")
    expect_failure(place.run(*base, "--trace", "vmbus="), 2, "vmbus=FILE")
    expect_failure(place.run(*base, "--trace", "vmbus=no/where"), 1, "vmbus=no/where", "directory")
    expect_failure(place.run(*base, "--trace", "vmbus=disk"), 1, "vmbus=disk")
    expect(os.path.getsize("disk") == 1 << 20, "the disk lost its content")
    expect_failure(place.run(*base, "--pcap", "nic0=x"), 2, "nic0", "--nic")
    expect_failure(place.run(*base, "--pcap", "eth0=x"), 2, "eth0")
    place.file("junk", b"x" * 100)
    expect_failure(place.run("trace", "show", "junk"), 1, "no trace")
    expect_failure(place.run("trace", "show", "nothing"), 1, "nothing")
    with open("--json", "w"):
        pass
    expect_failure(place.run("trace", "show", "--", "--json"), 1, "--json: this is no trace")
    expect_failure(place.run("trace", "show"), 2, "FILE")
    expect_failure(place.run("trace", "show", "--channel", "x", "junk"), 2, "--channel x")
    trace_guest(place)
    with open("trace.pcapng", "r+b") as file:
        file.truncate(5001)
    cut = place.run("trace", "show", "trace.pcapng")
    expect(cut.returncode == 1 and "cut off" in cut.stderr and "CHANNELMSG" in cut.stdout, cut)


@test
def faults_are_checked_and_counted(place):
    base = ("run", "--kernel", payload("idle"))
    expect_failure(place.run(*base, "--fault", "scsi0: explode"), 2, "--fault", "scsi0: explode")
    expect_failure(place.run(*base, "--fault", "no-such-file"), 2, "no-such-file")
    place.file("faults", b"# a file\nseed=3\nscsi0: fail status=bad\n")
    expect_failure(place.run(*base, "--fault", "faults"), 2, "scsi0: fail status=bad")
    place.file("faults", b"# a file\nseed=3\nscsi0: delay 1ms p=0.5\n")
    trace_guest(place, "--fault", "faults")
    text = place.does("trace", "show", "trace.pcapng")
    expect("FAULT delay transaction 0x" in text, text[-2000:])
    with Vm(place, "--fault", "seed=9; nic*: rescind every 1s"):
        faults = place.reply("counters", "vm")["channels"]["faults"]
        expect(faults["seed"] == 9 and faults["rule@0"]["kind"] == "rescind" and
               faults["rule@0"]["count"] == 0, faults)


sys.exit(main())
