#!/usr/bin/env python3
"""Disk images by the daemon, as a client of its interface sees them; TAP on standard output.

    images.py BULKHEAD PAYLOADS

As root the caller is a user that no host has; who is not root has a daemon that is theirs alone.
"""

import contextlib
import fcntl
import json
import os
import signal
import stat
import struct
import sys

from callers import ADMINISTRATOR, ROOT, STRANGER, User, caller_of_files, daemon_of, lines
from daemon import children, command_of, descendants
from harness import expect, main, test, wait_for
from varlink_client import Connection, Service

VMMS = "io.bulkhead.VMMS."
MIB = 1 << 20
# One that takes requests and answers none.
SILENT = "#!/bin/sh\nexec /bin/sleep 1000\n"
# The same, which is another process once it has a request.
READER = "#!/bin/sh\n/usr/bin/head -c 1 <&3 >/dev/null\nexec /bin/sleep 1001\n"


class Files:
    """A daemon, a directory of the caller's, and calls about files there."""

    def __init__(self, place, daemon):
        self.daemon = daemon
        self.user = caller_of_files(daemon)
        self.top = os.path.join(place.path, "images")
        os.mkdir(self.top)
        if ROOT:
            os.chown(self.top, ADMINISTRATOR, ADMINISTRATOR)

    def path(self, name):
        return os.path.join(self.top, name)

    def call(self, method, **parameters):
        return self.user.call(method, **parameters)

    def fails(self, error, method, *words, **parameters):
        before = sorted(os.listdir(self.top))
        message = self.user.fails(error, method, **parameters)
        for word in words:
            expect(word in message, f"no {word} in: {message}")
        expect(sorted(os.listdir(self.top)) == before, f"{method}: {os.listdir(self.top)}")


@contextlib.contextmanager
def files_of(place):
    with daemon_of(place) as daemon:
        yield Files(place, daemon)


def silent(place, script=SILENT):
    """The daemon that is started next has a bulkhead-disk that never answers."""
    path = place.file("silent", script.encode())
    os.chmod(path, 0o755)
    place.environment["BULKHEAD_DISK"] = path


@test
def each_method_does_what_its_verb_does(place):
    with files_of(place) as files:
        image, copy = files.path("disk.vhdx"), files.path("copy.vhd")
        child = files.path("child.vhdx")
        expect(files.call("CreateImage", path=image, bytes=8 * MIB, block_bytes=MIB,
                          logical_block=4096) == {"bytes": 8 * MIB}, "CreateImage")
        info = files.call("GetImage", path=image)
        told = place.reply("disk", "info", image)
        details = info.pop("details")
        expect({**info, **details} == told and info["logical_block"] == 4096,
               f"{info}, {details} and {told}")
        expect(files.call("CheckImage", path=image) ==
               {"format": "vhdx", "damages": [], "notes": []}, "CheckImage")
        expect(files.call("ResizeImage", path=image, bytes=16 * MIB) == {"bytes": 16 * MIB},
               "ResizeImage")
        files.call("CreateImage", path=child, parent=image)
        info = files.call("GetImage", path=child)
        expect(info["differencing"] and image in info["parents"], info)
        expect(files.call("ConvertImage", source=child, path=copy) == {"bytes": 16 * MIB},
               "ConvertImage")
        found = files.call("CompactImage", path=copy)
        expect(found["before"] >= found["after"] == os.stat(copy).st_size, found)
        for path in (image, copy, child):
            status = os.stat(path)
            expect(status.st_uid == files.user.uid, f"{path} is {status.st_uid}'s")
            expect(stat.S_IMODE(status.st_mode) == 0o600, f"{path}: {status.st_mode:o}")


@test
def replies_are_as_declared_and_a_conversion_says_how_far_it_is(place):
    """To a client that has the specification alone."""
    with daemon_of(place) as daemon:
        service = Service(daemon.socket)
        raw = place.file("disk.raw", os.urandom(4 * MIB))
        image = os.path.join(place.path, "disk.vhdx")
        replies = list(service.stream(VMMS + "ConvertImage", {"source": raw, "path": image}))
        expect(len(replies) > 2 and replies[-1] == {"bytes": 4 * MIB}, replies)
        expect(all(reply["size"] == 4 * MIB for reply in replies[:-1]), replies)
        done = [reply["bytes"] for reply in replies]
        expect(done == sorted(done), done)
        for method, more in (("GetImage", {}), ("CheckImage", {}), ("CompactImage", {}),
                             ("ResizeImage", {"bytes": 5 * MIB})):
            service.call(VMMS + method, {"path": image, **more})
        findings = service.call(VMMS + "CheckHost")
        result = place.run("doctor", "--json")
        # What is missing is null, and what is found out may have numbers that change.
        told = {each["name"]: each["ok"] for each in json.loads(result.stdout)["checks"]}
        expect({each["name"]: each.get("ok") for each in findings["checks"]} == told, findings)


@test
def what_cannot_be_done_leaves_nothing(place):
    with files_of(place) as files:
        image = files.path("disk.vhdx")
        new = {"path": files.path("new.vhdx")}
        files.call("CreateImage", path=image, bytes=8 * MIB)
        files.fails("BadSettings", "CreateImage", "absolute", path="disk.vhdx", bytes=MIB)
        files.fails("BadSettings", "CreateImage", "raw, vhd or vhdx", **new, bytes=MIB, format="qcow2")
        files.fails("BadSettings", "CreateImage", "size", **new)
        files.fails("BadSettings", "CreateImage", "size", **new, bytes=-1)
        files.fails("BadSettings", "CreateImage", "512", **new, bytes=MIB, logical_block=(1 << 32) + 512)
        files.fails("BadSettings", "ResizeImage", "less", path=image, bytes=0)
        files.fails("Exists", "CreateImage", "there already", path=image, bytes=MIB)
        files.fails("Exists", "ConvertImage", "there already", source=image, path=image)
        files.fails("NotFound", "GetImage", path=files.path("none.vhdx"))
        files.fails("NotFound", "CreateImage", path=files.path("no/new.vhdx"), bytes=MIB)
        files.fails("Failed", "GetImage", "neither", path=files.top)
        files.fails("Failed", "CreateImage", **new, bytes=8 * MIB + 1)
        files.fails("Failed", "ResizeImage", "larger", path=image, bytes=MIB)
        other = files.path("other.vhdx")
        with open(other, "wb") as file:
            file.write(b"no image" * MIB)
        os.chmod(other, 0o644)
        files.fails("Failed", "ConvertImage", "other.vhdx", source=other, **new)
        with open(image, "r+b") as file:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
            files.fails("Failed", "CompactImage", "disk.vhdx", path=image)


@test
def the_callers_rights_are_what_counts(place):
    with files_of(place) as files:
        secret = place.file("secret.raw")
        shut = os.path.join(place.path, "shut")
        os.mkdir(shut)
        for path in (secret, shut):
            os.chmod(path, 0o700 if ROOT else 0)
        files.fails("Denied", "GetImage", "secret.raw", path=secret)
        files.fails("Denied", "ConvertImage", source=secret, path=files.path("copy.vhdx"))
        files.fails("Denied", "CreateImage", path=os.path.join(shut, "new.vhdx"), bytes=MIB)
        files.fails("Denied", "ResizeImage", path=secret, bytes=MIB)
        os.chmod(shut, 0o700)
        if ROOT:
            stranger = User(files.daemon, STRANGER)
            for method in ("GetImage", "CheckImage", "CompactImage"):
                stranger.fails("Denied", method, path=files.path("any.vhdx"))
            stranger.fails("Denied", "CheckHost")


@test
def a_parent_is_opened_with_the_callers_rights_too(place):
    with files_of(place) as files:
        parent, child = files.path("parent.vhdx"), files.path("child.vhdx")
        files.call("CreateImage", path=parent, bytes=8 * MIB)
        files.call("CreateImage", path=child, parent=parent)
        os.chmod(parent, 0)
        if ROOT:
            os.chown(parent, 0, 0)
        files.fails("NotFound", "CheckImage", "parent", path=child)
        files.fails("NotFound", "ConvertImage", "parent", source=child, path=files.path("copy.raw"))


@test
def what_changes_something_leaves_one_line(place):
    with files_of(place) as files:
        image, copy = files.path("disk.vhdx"), files.path("copy.vhdx")
        files.call("CreateImage", path=image, bytes=8 * MIB)
        files.call("GetImage", path=image)
        files.call("CheckImage", path=image)
        files.call("ConvertImage", source=image, path=copy)
        files.call("ResizeImage", path=image, bytes=16 * MIB)
        files.call("CompactImage", path=image)
        files.fails("Exists", "CreateImage", path=image, bytes=MIB)
        noted = [(line["method"], line["uid"], line["result"]) for line in lines(files.daemon)]
        uid = files.user.uid
        expect(noted == [("CreateImage", uid, "done"), ("ConvertImage", uid, "done"),
                         ("ResizeImage", uid, "done"), ("CompactImage", uid, "done"),
                         ("CreateImage", uid, "Exists")], noted)
        expect(lines(files.daemon)[0]["parameters"]["path"] == image, lines(files.daemon)[0])


@test
def who_leaves_leaves_nothing_behind(place):
    silent(place)
    with daemon_of(place) as daemon:
        image = os.path.join(place.path, "disk.vhdx")
        connection = Connection(daemon.socket)
        connection.send(VMMS + "CreateImage", {"path": image, "bytes": MIB}, more=True)
        wait_for(lambda: any(b"sleep" in command_of(pid) for pid in descendants(daemon.process.pid)),
                 "the tool")
        connection.close()
        wait_for(lambda: not children(daemon.process.pid), "the end of all that was started")
        expect(not os.path.exists(image), "an image")
        wait_for(lambda: os.path.exists(os.path.join(daemon.state, "audit.log")), "a line")
        expect([line["result"] for line in lines(daemon)] == ["Failed"], lines(daemon))


@test
def what_has_begun_goes_on_and_nothing_else(place):
    silent(place, READER)
    with daemon_of(place) as daemon:
        def readers():
            return [pid for pid in descendants(daemon.process.pid) if b"1001" in command_of(pid)]
        going = []
        try:
            # The second's tool is asked for its image's parents first.
            calls = [("ResizeImage", "left.raw", {"bytes": MIB}), ("CompactImage", "left.vhdx", {}),
                     ("ResizeImage", "kept.raw", {"bytes": MIB})]
            connections = []
            for method, name, more in calls:
                connections.append(Connection(daemon.socket))
                connections[-1].send(VMMS + method, {"path": place.file(name), **more})
            wait_for(lambda: len(readers()) == 3, "the tools")
            for connection in connections[:2]:
                connection.close()
            wait_for(lambda: len(children(daemon.process.pid)) == 2, "the end of one")
            going = readers()
            expect(len(going) == 2, "what has begun")
            daemon.end()
            expect(all(command_of(pid) for pid in going), "it ended with the daemon")
            message = connections[2].receive()["parameters"]["message"]
            expect("goes on without" in message and "bulkhead disk info" in message, message)
            connections[2].close()
        finally:
            for pid in going:
                os.kill(pid, signal.SIGKILL)


@test
def a_daemon_that_dies_leaves_nothing_behind(place):
    silent(place)
    with daemon_of(place) as daemon:
        with Connection(daemon.socket) as connection:
            connection.send(VMMS + "CreateImage", {"path": os.path.join(place.path, "disk.raw"),
                                                   "bytes": MIB})
            wait_for(lambda: any(b"sleep" in command_of(pid)
                                 for pid in descendants(daemon.process.pid)), "the tool")
            started = descendants(daemon.process.pid)
            daemon.kill()
            wait_for(lambda: not any(command_of(pid) for pid in started), "the end of the others")
        expect(not os.path.exists(os.path.join(place.path, "disk.raw")), "an image")


@test
def nobody_takes_all_there_is(place):
    silent(place)
    with daemon_of(place) as daemon:
        connections = [Connection(daemon.socket) for _ in range(8)]
        for number, connection in enumerate(connections):
            connection.send(VMMS + "CreateImage",
                            {"path": os.path.join(place.path, f"{number}.raw"), "bytes": MIB})
        wait_for(lambda: len(children(daemon.process.pid)) == 8, "eight calls")
        found = daemon.fails("Failed", "CreateImage", path=os.path.join(place.path, "8.raw"),
                             bytes=MIB)
        expect("in hand" in found["message"], found)
        for connection in connections:
            connection.close()
        wait_for(lambda: not children(daemon.process.pid), "their end")
        expect(not [name for name in os.listdir(place.path) if name.endswith(".raw")], "images")


sys.exit(main())
