#!/usr/bin/env python3
"""A VM's disks, drives and controllers; TAP on standard output.

    storage.py BULKHEAD PAYLOADS
"""

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import threading

from harness import (BULKHEAD, PATIENCE, Place, Skip, Vm, call, expect, expect_failure, listen,
                     main, test, wait_for)


@test
def disks_have_whole_sectors(place):
    good = place.file("good")
    odd = place.file("odd", b"x" * 513)
    expect_failure(place.run("run", "--kernel", good, "--disk", odd), 1, odd, "512")


@test
def disks_in_use_are_refused(place):
    good = place.file("good")
    disk = place.file("disk")
    with open(disk, "r+b") as file:
        # An open file description lock: struct flock with whence, start, length.
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK
        expect_failure(place.run("run", "--kernel", good, "--disk", disk), 1, disk)
        expect_failure(place.run("run", "--kernel", good, "--disk", disk + ",ro"), 1, disk)


@test
def a_disk_given_twice_is_refused(place):
    good = place.file("good")
    disk = place.file("disk")
    alias = os.path.join(place.path, "alias")
    os.link(disk, alias)
    for other in (disk, disk + ",ro", alias):
        result = place.run("run", "--kernel", good, "--disk", disk, "--disk", other)
        expect_failure(result, 1, "--disk", "is given twice")
    result = place.run("run", "--kernel", good, "--disk", disk + ",ro", "--disk", alias + ",ro")
    expect("twice" not in result.stderr, result.stderr)


@test
def a_device_the_host_uses_is_refused(place):
    good = place.file("good")
    disk = place.file("disk", b"x" * 65536)
    try:
        device = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True,
                                text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise Skip("no right to make a block device") from None
    try:
        user = os.open(device, os.O_RDONLY | os.O_EXCL)  # as a mount does
        result = place.run("run", "--kernel", good, "--disk", device)
        expect_failure(result, 1, f"--disk {device}", "in use by the host", ",ro")
        result = place.run("run", "--kernel", good, "--disk", device + ",ro")
        expect("--disk" not in result.stderr, result.stderr)
        os.close(user)
        result = place.run("run", "--kernel", good, "--disk", device)
        expect("--disk" not in result.stderr, result.stderr)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@test
def disks_are_attached_and_detached(place):
    disk = place.file("disk", bytes(4096))
    odd = place.file("odd", bytes(513))
    with Vm(place) as vm:
        attached = place.reply("disk", "attach", "vm", disk + ",lun=5")
        expect(attached == {"lun": 5}, attached)
        figures = vm.tree()["devices"]["scsi"]["figures"]
        expect(figures["lun@5"]["name"] == disk, figures)
        expect_failure(place.run("disk", "attach", "vm", disk), 1, disk, "in use")
        expect_failure(place.run("disk", "attach", "vm", odd), 1, odd, "512")
        expect_failure(place.run("disk", "attach", "vm", odd + ",lun=64"), 2, "lun=64")
        expect_failure(place.run("disk", "attach", "vm", place.path + "/none"), 2, "none")
        expect_failure(place.run("disk", "attach", "vm", place.path), 1, "directory")
        expect_failure(place.run("disk", "detach", "vm", "4"), 1, "LUN 4")
        expect_failure(place.run("disk", "detach", "vm", odd), 1, odd)
        expect_failure(place.run("disk", "detach", "vm"), 2, "a disk")
        expect_failure(place.run("disk", "insert", "vm", "5", disk), 1, disk)
        expect_failure(place.run("disk", "insert", "vm", "x", odd), 2, '"x" is not a LUN')
        expect_failure(place.run("disk", "insert", "vm", "5", "nbd://host/x"), 2, "--cdrom",
                       "attach it")
        expect_failure(place.run("disk", "attach", "vm", odd + ",lun=5,format=raw"), 1, odd)
        other = place.file("other", bytes(4096))
        expect_failure(place.run("disk", "attach", "vm", other + ",lun=5"), 1, "LUN 5 is given",
                       ",lun=N")
        expect_failure(place.run("disk", "eject", "vm", "1", "2"), 2, '"2"')
        expect_failure(place.run("disk", "detach", "other", "5"), 5, "other")
        expect(place.does("disk", "detach", "vm", disk) == "LUN 5\n", "the LUN's number")
        expect(place.does("disk", "attach", "vm", disk) == "LUN 0\n", "the first LUN")


@contextlib.contextmanager
def dead_file_system(path):
    """A mount whose server never says anything."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.mkdir(path)
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError as fault:
        raise Skip("no usable /dev/fuse") from fault
    options = f"fd={server},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    try:
        if libc.mount(b"dead", path.encode(), b"fuse", 0, options.encode()):
            raise Skip(f"no mount: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        libc.umount2(path.encode(), 2)  # MNT_DETACH
        os.close(server)


@test
def a_dead_file_system_holds_up_nobody(place):
    answers = []
    with Vm(place) as vm, dead_file_system(place.path + "/dead"):
        copy = {"source": place.path + "/dead/file", "path": "/file"}
        waiting = threading.Thread(target=lambda: answers.append(
            call(place.socket("vm"), "io.bulkhead.VM.CopyFile", copy)))
        waiting.start()
        expect("devices" in vm.tree(), "a VM that goes on")
        expect(not answers, answers)
        waiting.join(PATIENCE)
        expect("does not answer" in str(answers), answers)
        expect_failure(place.run("copy-file", "vm", "/dev/null", "/null"), 1, "regular file")
        expect_failure(place.run("copy-file", "vm", place.file("some"), "/some"), 1, "no driver")


@test
def an_image_that_may_only_be_read(place):
    disk = place.file("disk", bytes(4096))
    os.chmod(disk, 0o400)
    # Root may write to all, unless it has given that right up.
    mortal = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []

    def run(path):
        return subprocess.run([*mortal, BULKHEAD, "run", "--kernel", place.file("kernel"),
                               "--disk", path], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, env=place.environment, timeout=PATIENCE, check=False)

    expect_failure(run(disk), 1, disk, "add ,ro")
    result = run(disk + ",ro")
    expect("--disk" not in result.stderr, result.stderr)


@test
def controllers_come_and_go(place):
    disk = place.file("disk", bytes(4096))
    on = ("--controller", "scsi1")
    with Vm(place) as vm:
        expect_failure(place.run("disk", "attach", "vm", disk, *on), 1, "scsi1")
        for _ in range(20):
            expect(place.does("controller", "attach", "vm") == "scsi1\n", "a controller")
            result = place.does("disk", "attach", "vm", disk, *on)
            expect(result == "LUN 0\n", result)
            expect_failure(place.run("disk", "attach", "vm", disk), 1, disk, "in use")
            place.does("disk", "set", "vm", disk, *on, "--iops", "5")
            place.does("controller", "detach", "vm", "scsi1")
        tree = vm.tree()["devices"]
        expect([name for name in tree if name.startswith("scsi")] == ["scsi"], tree)
        result = place.run("disk", "attach", "vm", disk)
        expect(result.stdout == "LUN 0\n", "the disk is free again")
        for count in range(1, 8):
            result = place.reply("controller", "attach", "vm")
            expect(result == {"controller": f"scsi{count}"}, result)
        expect_failure(place.run("controller", "attach", "vm"), 1, "8 storage controllers")
        expect_failure(place.run("controller", "detach", "vm", "scsi"), 1, "first one stays")
        expect_failure(place.run("controller", "detach", "vm", "scsi9"), 1, "scsi9")
        expect_failure(place.run("disk", "detach", "vm", "0", *on), 1, "LUN 0")
        place.does("disk", "detach", "vm", "0", "--controller=scsi")
        place.does("controller", "detach", "vm", "scsi3")
        expect(place.does("controller", "attach", "vm") == "scsi3\n", "its place is free")


@test
def controllers_are_there_from_the_start(place):
    first, second = place.file("first", bytes(4096)), place.file("second", bytes(8192))
    third = place.file("third", bytes(4096))
    with Vm(place, "--disk", first, "--controllers", "3", "--disk", second + ",controller=scsi1",
            "--disk", third + ",controller=scsi1") as vm:
        luns = {name: [key for key in node.get("figures", {}) if key.startswith("lun@")]
                for name, node in vm.tree()["devices"].items() if name.startswith("scsi")}
        expect(luns == {"scsi": ["lun@0"], "scsi@scsi1": ["lun@0", "lun@1"], "scsi@scsi2": []},
               luns)
        expect(place.does("controller", "attach", "vm") == "scsi3\n", "the next")
        place.does("controller", "detach", "vm", "scsi1")
    for words, said in ((("--disk", first + ",controller=scsi1"), "--controllers 2"),
                        (("--disk", first + ",controller=nic0"), "controller=scsi"),
                        (("--controllers", "0"), "1 to 8"), (("--controllers", "9"), "1 to 8")):
        expect_failure(place.run("run", "--kernel", first, *words), 2, said)


@test
def network_block_devices_are_attached(place):
    if subprocess.run("command -v nbdkit", shell=True, stdout=subprocess.DEVNULL).returncode:
        raise Skip("no nbdkit")
    path = os.path.join(place.path, "nbd")
    uri = f"nbd+unix:///?socket={path}"
    server = subprocess.Popen(["nbdkit", "-f", "-U", path, "memory", "1M"])
    try:
        wait_for(lambda: os.path.exists(path), "the server's socket")
        with Vm(place, "--disk", uri + ",ro") as vm:
            disk = vm.tree()["devices"]["scsi"]["figures"]["lun@0"]
            expect((disk["bytes"], disk["read-only"], disk["name"]) == (1 << 20, 1, uri), disk)
            attach_and_detach_nbd(place, vm, uri)
            none = f"nbd+unix:///?socket={place.path}/none"
            expect_failure(place.run("disk", "attach", "vm", none), 1, none, "cannot connect")
            expect_failure(place.run("disk", "attach", "vm", "nbd:///x"), 1, "nbd://HOST")
            server.kill()
            server.wait(PATIENCE)
            wait_for(lambda: not vm.helpers(), "the helper's end")
            place.does("inspect", "vm")  # the VM runs on
            place.does("disk", "detach", "vm", "0")
            vm.end()
            expect(f"--disk {uri}: the server is gone" in vm.said(), vm.said())
    finally:
        server.kill()
        server.wait(PATIENCE)


def attach_and_detach_nbd(place, vm, uri):
    """Nothing is left of the disks that come to a VM with one of them, and go."""
    before = vm.descriptors()
    for _ in range(5):
        attached = place.does("disk", "attach", "vm", uri + ",iops=9")
        expect(attached == "LUN 1\n" and len(vm.helpers()) == 2, attached)
        expect(place.does("disk", "detach", "vm", uri) == "LUN 0\n", "the first")
        expect_failure(place.run("disk", "attach", "vm", uri + ",lun=1"), 1, "LUN 1")
        expect(place.does("disk", "attach", "vm", uri) == "LUN 0\n", "the first again")
        place.does("disk", "detach", "vm", "1")
        wait_for(lambda: len(vm.helpers()) == 1, "the helpers' end")
    expect(vm.descriptors() == before, f"{before} descriptors, then {vm.descriptors()}")


def relay(one, other):
    """Carries bytes both ways, until one of them ends."""
    with one, other:
        while True:
            for source in select.select([one, other], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                (other if source is one else one).sendall(data)


@test
def an_attach_that_nobody_waits_for_is_dropped(place):
    path = os.path.join(place.path, "nbd")
    slow = os.path.join(place.path, "slow")
    server = subprocess.Popen(["nbdkit", "-f", "-U", path, "memory", "1M"])
    try:
        wait_for(lambda: os.path.exists(path), "the server's socket")
        with Vm(place) as vm, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(slow)
            listener.listen()
            listener.settimeout(PATIENCE)
            client = subprocess.Popen(
                [BULKHEAD, "disk", "attach", "vm", f"nbd+unix:///?socket={slow}"],
                env=place.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            connection = listener.accept()[0]
            client.kill()
            client.wait(PATIENCE)
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(path)
            threading.Thread(target=relay, args=(connection, upstream), daemon=True).start()
            wait_for(lambda: not vm.helpers(), "the helper's end")
            expect("lun@0" not in vm.tree()["devices"]["scsi"]["figures"], "it came all the same")
    finally:
        server.kill()
        server.wait(PATIENCE)


@test
def a_medium_is_changed_and_ejected(place):
    first = place.file("first.iso", bytes(4096))
    second = place.file("second.iso", bytes(8192))
    small = place.file("small.iso", bytes(512))

    def drive(lun):
        return vm.tree()["devices"]["scsi"]["figures"][f"lun@{lun}"]

    with Vm(place, "--cdrom", first, "--cdrom", "none,lun=7") as vm:
        expect(drive(0)["type"] == "cdrom" and drive(0)["name"] == first, drive(0))
        expect(drive(7)["type"] == "cdrom" and "name" not in drive(7), drive(7))
        result = place.run("disk", "insert", "vm", "7", second)
        expect(result.returncode == 0 and drive(7)["bytes"] == 8192, result)
        expect_failure(place.run("disk", "insert", "vm", "7", small), 1, small)
        expect(drive(7)["name"] == second, "the old medium stays where the new one is refused")
        expect(place.reply("disk", "eject", "vm", "7") == {}, "no word")
        expect("name" not in drive(7), drive(7))
        expect_failure(place.run("disk", "insert", "vm", "3", second), 1, "DVD drive")
    expect_failure(place.run("run", "--kernel", first, "--cdrom", place.path), 1, "--cdrom",
                   "directory")


@test
def a_seed_is_made_of_a_directory(place):
    good = place.file("good")
    seed = os.path.join(place.path, "seed")
    os.mkdir(seed)
    expect_failure(place.run("run", "--kernel", good, "--seed", seed), 1, seed, "user-data")
    for name in ("user-data", "meta-data"):
        with open(os.path.join(seed, name), "w", encoding="utf-8") as file:
            file.write("#cloud-config\n")
    expect_failure(place.run("run", "--kernel", good, "--seed", good), 1, good, "directory")
    result = Place(place.path, PATH="/nowhere").run("run", "--kernel", good, "--seed", seed)
    expect_failure(result, 1, "xorriso", "package")
    with Vm(place, "--seed", seed) as vm:
        drive = vm.tree()["devices"]["scsi"]["figures"]["lun@0"]
        expect(drive["type"] == "cdrom" and drive["bytes"] > 32768, drive)
    with open(os.path.join(seed, "movie"), "wb") as file:
        file.truncate(65 << 20)
    expect_failure(place.run("run", "--kernel", good, "--seed", seed), 1, seed, "64 MiB")


@test
def limits_change_while_a_vm_runs(place):
    path = os.path.join(place.path, "wire")
    disk = place.file("disk", bytes(4096))
    with (listen(path),
          Vm(place, "--disk", disk + ",iops=100,bandwidth=2M",
             "--nic", f"stream={path},bandwidth=3M") as vm):
        def tree():
            return vm.tree()["devices"]

        limits = tree()["scsi"]["limits@0"]
        expect((limits["iops"], limits["bandwidth"]) == (100, 2 << 20), limits)
        expect(tree()["netvsp@nic0"]["bandwidth"] == 3000000, "the NIC's")
        result = place.reply("disk", "set", "vm", "0", "--iops", "7")
        expect(result == {"lun": 0, "iops": 7, "bandwidth": 2 << 20}, result)
        result = place.run("disk", "set", "vm", disk, "--bandwidth", "none", "--iops=0")
        expect(result.returncode == 0 and "limits@0" not in tree()["scsi"], result)
        result = place.reply("nic", "set", "vm", "nic0", "--bandwidth", "none")
        expect(result == {"bandwidth": 0}, result)
        expect(tree()["netvsp@nic0"]["bandwidth"] == 0, "the NIC's is gone")
        expect_failure(place.run("disk", "set", "vm", "0"), 2, "--iops or --bandwidth")
        expect_failure(place.run("disk", "set", "vm", "--iops", "5"), 2, "LUN or PATH")
        expect_failure(place.run("disk", "set", "vm", "0", "--iops", "x"), 2, "--iops")
        expect_failure(place.run("disk", "set", "vm", "3", "--iops", "5"), 1, "LUN 3")
        expect_failure(place.run("nic", "set", "vm", "nic0"), 2, "--bandwidth")
        expect_failure(place.run("nic", "set", "vm", "nic0", "--bandwidth", "1"), 2, "1K")
        expect_failure(place.run("nic", "set", "vm", "nic4", "--bandwidth", "1M"), 1, "nic4")
        expect_failure(place.run("nic", "set", "vm", "scsi", "--bandwidth", "1M"), 2, "nic0")
        other = place.file("other", bytes(4096))
        place.run("disk", "attach", "vm", other + ",lun=5,iops=9")
        expect(tree()["scsi"]["limits@5"]["iops"] == 9, "a limit of a disk that comes")


sys.exit(main())
