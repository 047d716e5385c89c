#!/usr/bin/env python3
"""Who may do what with the daemon's VMs, and what is noted of it; TAP on standard output.

    access.py BULKHEAD PAYLOADS

As root the callers are users that no host has. Who is not root has a daemon that is theirs alone.
"""

import base64
import json
import os
import shutil
import sys
import threading

from callers import (ADMINISTRATOR, FRIEND, GROUP, ROOT, STRANGER, User, caller_of_files,
                     daemon_of, lines)
from daemon import MEMORY, Client, Daemon, Refused
from harness import call, expect, main, open_files, payload, test


def settings(name, **more):
    return {"version": 1, "name": name, "processors": {"count": 1}, "memory": {"startup": MEMORY},
            "boot": {"kernel": "/nowhere/kernel"}, **more}


def disk(path, name="data", **more):
    return {"name": name, "kind": "disk", "path": path, **more}


def forbidden(place, name="secret"):
    """A file that the caller may not open: root's where others call, else one of no mode at all."""
    path = place.file(name)
    os.chmod(path, 0o600 if ROOT else 0)
    return path


def owned(place, user, name):
    path = place.file(name)
    os.chown(path, user.uid, user.uid)
    return path


@test
def files_of_others_are_refused_and_nothing_changes(place):
    with daemon_of(place) as daemon:
        secret, user = forbidden(place), caller_of_files(daemon)
        message = user.fails("Denied", "CreateVM", settings=settings("one", disks=[disk(secret)]))
        expect(secret in message, message)
        user.fails("Denied", "CreateVM", settings=settings("one", boot={"kernel": secret}))
        closed = os.path.join(place.path, "closed")
        os.mkdir(closed, 0o555)
        for log in (secret, os.path.join(closed, "log")):
            user.fails("Denied", "CreateVM",
                       settings=settings("one", generation=1, boot={"firmware_log": log}))
        expect(daemon.vms() == {}, "a VM was made")
        user.call("CreateVM", settings=settings("one"))
        before = daemon.vm("one")
        user.fails("Denied", "SetVM", vm="one", change={"disks": [disk(secret)]})
        user.fails("Denied", "SetVM", vm="one", change={"boot": {"initrd": secret}})
        user.fails("Denied", "AttachDisk", vm="one", disk=disk(secret))
        user.fails("Denied", "AttachDisk", vm="one", disk=disk(secret, kind="cdrom"))
        expect(daemon.vm("one") == before, "the VM changed")
        user.fails("Denied", "StartTrace", vm="one", path=secret)
        user.fails("Denied", "StartTrace", vm="one", path=os.path.join(closed, "trace"))
        expect(os.path.getsize(secret) and not os.listdir(closed), "a trace was made")


@test
def links_are_what_they_lead_to(place):
    with daemon_of(place) as daemon:
        link, user = os.path.join(place.path, "link"), caller_of_files(daemon)
        os.symlink(forbidden(place), link)
        user.fails("Denied", "CreateVM", settings=settings("one", disks=[disk(link)]))
        expect(daemon.vms() == {}, "a VM was made")


@test
def who_gives_a_disk_is_noted_with_it(place):
    with daemon_of(place) as daemon:
        user = caller_of_files(daemon)
        path = owned(place, user, "disk")
        user.call("CreateVM", settings=settings("one", disks=[disk(path, attached_by=0)]))
        made = daemon.vm("one")["settings"]
        expect(made["disks"][0]["attached_by"] == user.uid, made)
        expect(made["owner"]["uid"] == user.uid, made)


@test
def what_changes_something_leaves_a_line(place):
    with daemon_of(place) as daemon:
        user = caller_of_files(daemon)
        made = user.call("CreateVM", settings=settings("one"))["vm"]
        user.call("GetVM", vm="one")
        user.fails("NotFound", "RemoveVM", vm="two\nthree")
        user.fails("Denied", "AttachDisk", vm="one", disk=disk(forbidden(place)))
        user.call("RemoveVM", vm="one")
        log = lines(daemon)
        expect([(line["method"], line["result"]) for line in log] == [
            ("CreateVM", "done"), ("RemoveVM", "NotFound"), ("AttachDisk", "Denied"),
            ("RemoveVM", "done")], log)
        expect(all(line["uid"] == user.uid and line["pid"] > 0 for line in log), log)
        expect([line["vm"] for line in log] == ["one", "two\nthree", "one", "one"], log)
        expect(log[0]["uuid"] == log[3]["uuid"] == made["uuid"], log)
        expect(os.stat(os.path.join(daemon.state, "audit.log")).st_mode & 0o777 == 0o600, "its mode")


@test
def what_does_not_fit_the_interface_leaves_a_line_too(place):
    with daemon_of(place) as daemon:
        user = caller_of_files(daemon)
        user.fails("InvalidParameter", "RemoveVM", vm="one", force=True)
        user.fails("InvalidParameter", "StartVM", vm=1)
        user.fails("InvalidParameter", "GetVM", vm=1)
        log = lines(daemon)
        expect([(line["method"], line["result"], line.get("vm")) for line in log] == [
            ("RemoveVM", "InvalidParameter", "one"), ("StartVM", "InvalidParameter", None)], log)


@test
def strangers_cannot_drive_out_the_lines_of_others(place):
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        def knock():
            with Client(stranger.path) as client:
                for _ in range(300):
                    try:
                        client.call("RemoveVM", vm="x" * 1000)
                    except Refused:
                        pass

        stranger = User(daemon, STRANGER)
        expect("reply" in stranger.do(knock), "he is not answered")
        daemon.call("CreateVM", settings=settings("one"))
        log = lines(daemon)
        expect(log[-1]["method"] == "CreateVM" and len(log) < 300, len(log))
        expect(len(log) + log[-1]["missing"] == 301, log[-1])


@test
def what_guests_are_told_is_not_noted(place):
    with daemon_of(place) as daemon:
        user = caller_of_files(daemon)
        user.call("CreateVM", settings=settings("one"))
        user.fails("WrongState", "SetKvp", vm="one", pool="external", key="a", value="geheim")
        expect("geheim" not in json.dumps(lines(daemon)), "a secret was noted")
        expect(lines(daemon)[-1]["method"] == "SetKvp", lines(daemon))


@test
def a_full_log_fails_no_call(place):
    with daemon_of(place) as daemon:
        os.mkdir(os.path.join(daemon.state, "audit.log"))
        user = caller_of_files(daemon)
        user.call("CreateVM", settings=settings("one"))
        os.rmdir(os.path.join(daemon.state, "audit.log"))
        user.call("RemoveVM", vm="one")
        expect(lines(daemon)[0]["missing"] == 1, lines(daemon))


@test
def the_sockets_let_in_whom_they_should(place):
    with daemon_of(place) as daemon:
        status = os.stat(daemon.socket)
        if not ROOT:
            expect(status.st_mode & 0o777 == 0o600, oct(status.st_mode))
            expect(not os.path.exists(os.path.join(daemon.run, "public.sock")), "it is public")
            return
        expect(status.st_mode & 0o777 == 0o660 and status.st_gid == GROUP, status)
        expect("reply" in User(daemon, ADMINISTRATOR, GROUP).ask("ListVMs", at=daemon.socket),
               "an administrator is kept out")
        answer = User(daemon, STRANGER).ask("ListVMs", at=daemon.socket)
        expect(answer.get("error") == "PermissionError", answer)
        expect(User(daemon, STRANGER).call("ListVMs") == {"vms": []}, "he sees something")


def three_rights(place, daemon):
    """A VM of root's, and those who have the right to connect, operate and administer."""
    users = {right: User(daemon, FRIEND + 10 + number)
             for number, right in enumerate(("connect", "operate", "administer"))}
    daemon.call("CreateVM", settings=settings("one", access=[
        {"user": str(user.uid), "right": right} for right, user in users.items()]))
    daemon.call("CreateVM", settings=settings("hidden"))
    return users


@test
def rights_are_what_was_delegated(place):
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        users = three_rights(place, daemon)
        for user in users.values():
            expect([vm["name"] for vm in user.call("ListVMs")["vms"]] == ["one"], "he sees others")
            expect(user.call("GetVM", vm="one")["vm"]["name"] == "one", "he does not see it")
            user.fails("NotFound", "GetVM", vm="hidden")
            user.fails("Denied", "CreateVM", settings=settings("more"))
            user.fails("Denied", "ShutDownHost")
            user.fails("WrongState", "OpenConsole", vm="one", read_only=True)
        users["connect"].fails("Denied", "OpenConsole", vm="one")
        users["connect"].fails("Denied", "StartVM", vm="one")
        users["operate"].fails("Denied", "SetVM", vm="one", change={"notes": "his"})
        users["operate"].fails("Denied", "RenameVM", vm="one", name="his")
        users["operate"].fails("Denied", "RemoveVM", vm="one")
        expect("reply" in users["operate"].ask("StopVM", vm="one", turn_off=True), "no right to stop")
        users["administer"].call("SetVM", vm="one", change={"notes": "his"})
        expect(daemon.vm("one")["settings"]["notes"] == "his", daemon.vm("one"))
        users["administer"].call("RemoveVM", vm="one")
        expect(list(daemon.vms()) == ["hidden"], daemon.vms())


@test
def who_loses_the_right_to_a_console_hears_no_more_of_it(place):
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        user = User(daemon, FRIEND)
        daemon.create("one", "echo", access=[{"user": str(FRIEND), "right": "connect"}])
        daemon.start_vm("one")
        own = daemon.client()
        session = own.send("OpenConsole", more=True, vm="one").reply()["session"]
        told, tell = os.pipe()

        def listen():
            with Client(user.path) as client:
                client.send("OpenConsole", more=True, vm="one", read_only=True).reply()
                os.write(tell, b"x")
                while True:
                    client.reply()

        ended = threading.Event()

        def take_away():
            os.read(told, 1)
            daemon.call("SetVM", vm="one", change={"access": []})
            # The guest sends whole lines back, and drops what comes before its UART is set up.
            while not ended.wait(0.1):
                daemon.call("WriteConsole", vm="one", session=session,
                            data=base64.b64encode(b"secret\n").decode())

        thread = threading.Thread(target=take_away)
        thread.start()
        answer = user.do(listen)
        ended.set()
        thread.join()
        expect(answer["error"] == "Denied", answer)
        own.socket.close()
        daemon.call("StopVM", vm="one", turn_off=True)


@test
def who_may_not_see_a_vm_cannot_tell_that_it_is_there(place):
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        three_rights(place, daemon)
        stranger = User(daemon, STRANGER)
        for method in ("GetVM", "StartVM", "RemoveVM"):
            there = stranger.fails("NotFound", method, vm="one")
            missing = stranger.fails("NotFound", method, vm="two")
            expect(there == missing.replace("two", "one"), there, missing)
        asked = {vm: stranger.watch(vm=vm, history=0)["error"] for vm in ("one", "two")}
        expect(set(asked.values()) == {"NotFound"}, asked)


@test
def nobody_else_can_keep_the_daemon_from_listening(place):
    """Who can open a directory can hold the lock on it for ever."""
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        answer = User(daemon, STRANGER).do(lambda: os.close(os.open(daemon.run, os.O_RDONLY)))
        expect(answer.get("error") == "PermissionError", answer)
        expect(User(daemon, STRANGER).call("ListVMs") == {"vms": []}, "he cannot call")


@test
def rights_to_a_vm_are_no_rights_to_its_owners_files(place):
    """Its files are opened with the owner's rights, and what is a friend's today may be a link
    tomorrow."""
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        user = three_rights(place, daemon)["administer"]
        own = owned(place, user, "disk")
        user.fails("Denied", "AttachDisk", vm="one", disk=disk(own))
        user.fails("Denied", "SetVM", vm="one", change={"boot": {"kernel": own}})
        user.fails("Denied", "SetVM", vm="one", change={"boot": {"firmware_log": own}})
        user.fails("Denied", "SetVM", vm="one", change={"owner": None})
        user.fails("Denied", "SetVM", vm="one", change={"owner": {"uid": user.uid, "gid": 0}})
        user.fails("Denied", "CopyFile", vm="one", source=forbidden(place), path="/copy")
        administrator = User(daemon, ADMINISTRATOR, GROUP)
        for owner in ({"uid": 0, "gid": 0}, {"uid": ADMINISTRATOR, "gid": 0}):
            administrator.fails("Denied", "CreateVM", settings=settings("two", owner=owner))
        expect(sorted(daemon.vms()) == ["hidden", "one"], daemon.vms())


@test
def a_file_that_becomes_a_link_is_opened_by_the_owner(place):
    kernel = place.file("kernel", open(payload("idle"), "rb").read())
    with daemon_of(place) as daemon:
        secret, user = forbidden(place), caller_of_files(daemon)
        own = owned(place, user, "disk")
        os.chmod(kernel, 0o644)
        user.call("CreateVM", settings=settings("one", boot={"kernel": kernel}, disks=[disk(own)]))
        os.unlink(own)
        os.symlink(secret, own)
        answer = user.ask("StartVM", vm="one")
        expect("error" in answer and own in answer["message"], answer)
        expect(not daemon.vm("one").get("worker"), daemon.vm("one"))
        os.unlink(own)
        shutil.copyfile(kernel, own)
        os.truncate(own, 1 << 20)
        os.chown(own, user.uid, user.uid)
        expect(user.call("StartVM", vm="one")["vm"]["state"] == "running", "it does not start")
        user.fails("Denied", "AttachDisk", vm="one", disk=disk(secret, "more"))
        expect(len(daemon.vm("one")["settings"]["disks"]) == 1, daemon.vm("one"))
        user.fails("Denied", "CopyFile", vm="one", source=secret, path="/copy")
        answer = user.ask("CopyFile", vm="one", source=own, path="/copy")
        expect(answer.get("error") == "Failed" and "one" in answer["message"], answer)
        user.call("StopVM", vm="one", turn_off=True)


@test
def a_supervisor_keeps_nothing_of_the_daemons(place):
    place.environment["SECRET"] = "of-the-daemon"
    with daemon_of(place) as daemon:
        daemon.create("one")
        daemon.start_vm("one")
        note, = daemon.notes()
        directory = f"/proc/{note['supervisor_pid']}"
        with open(f"{directory}/environ", encoding="utf-8") as file:
            expect("of-the-daemon" not in file.read(), "its environment")
        with open(f"{directory}/status", encoding="utf-8") as file:
            expect("NoNewPrivs:\t1\n" in file.read(), "it may get privileges")
        files = open_files(note["supervisor_pid"]).values()
        expect("/dev/kvm" not in files and not any(daemon.state + "/vms" in file or
               file.endswith("audit.log") for file in files), files)
        daemon.call("StopVM", vm="one", turn_off=True)


@test
def a_copy_is_of_the_file_that_was_looked_at(place):
    """The supervisor is asked as the daemon asks it, with the number of another file."""
    with daemon_of(place) as daemon:
        daemon.create("one")
        daemon.start_vm("one")
        path = os.path.join(daemon.run, "vms", daemon.vm("one")["uuid"], "vm.sock")
        source = place.file("source")
        status = os.stat(source)
        for inode, words in ((status.st_ino, "service"), (status.st_ino + 1, "another file")):
            answer = call(path, "io.bulkhead.VM.CopyFile", {
                "source": source, "path": "/copy", "expect": f"{status.st_dev}:{inode}"})
            expect("error" in answer and words in json.dumps(answer), answer)
        daemon.call("StopVM", vm="one", turn_off=True)


@test
def who_operates_a_vm_copies_files_of_their_own(place):
    if not ROOT:
        return
    with daemon_of(place) as daemon:
        user = three_rights(place, daemon)["operate"]
        own = owned(place, user, "own")
        user.fails("Denied", "CopyFile", vm="one", source=forbidden(place), path="/copy")
        user.fails("WrongState", "CopyFile", vm="one", source=own, path="/copy")
        status = os.stat(own)
        noted = lines(daemon)[-1]["parameters"]
        expect(noted["expect"] == f"{status.st_dev}:{status.st_ino}", noted)


if __name__ == "__main__":
    sys.exit(main())
