#!/usr/bin/env python3
"""Generation 1 VMs on this machine's KVM; TAP on standard output.

    generation1.py BULKHEAD PAYLOADS
"""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys

from harness import BULKHEAD, PATIENCE, Skip, expect, expect_failure, main, need_kvm, test, wait_for
from managed import Daemon

FIRMWARE_SIZE = 256 << 10
# Counts starts in a byte of CMOS memory, resets in another way each time, and ends.
STARTS = bytes([
    0xb0, 0x50,              # mov al, 0x50: the byte
    0xe6, 0x70,              # out 0x70, al
    0xe4, 0x71,              # in al, 0x71
    0xfe, 0xc0,              # inc al
    0xe6, 0x71,              # out 0x71, al
    0x3c, 0x01, 0x75, 0x05,  # the first time:
    0xb0, 0x01, 0xe6, 0x92,  # system control port A
    0xf4,                    # hlt
    0x3c, 0x02, 0x75, 0x07,  # the second:
    0xba, 0xf9, 0x0c,        # the PIIX4's reset control
    0xb0, 0x06, 0xee, 0xf4,
    0x3c, 0x03, 0x75, 0x05,  # the third:
    0xb0, 0xfe, 0xe6, 0x64,  # the keyboard controller
    0xf4,
    0xe6, 0xf4,              # the fourth: debug exit, with the number of starts
    0xf4,
])


def firmware(place, code):
    """An image that runs code at F000:0100."""
    image = bytearray(b"\xff" * FIRMWARE_SIZE)
    image[-0xff00:-0xff00 + len(code)] = code
    image[-16:-11] = bytes([0xea, 0x00, 0x01, 0x00, 0xf0])  # jmp F000:0100
    return place.file("firmware", bytes(image))


@contextlib.contextmanager
def run_pc(place, *options):
    """A Generation 1 VM that runs until the block ends."""
    need_kvm()
    process = subprocess.Popen(
        [BULKHEAD, "run", "--generation", "1", "--name", "pc", "--memory", "64M",
         "--console", "none", *options],
        env=place.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        expect(process.returncode == 143, f"exit {process.returncode}: {said}")
    finally:
        process.kill()
        process.wait(PATIENCE)


def text_of(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="latin-1") as file:
        return file.read()


@test
def seabios_comes_up(place):
    log = os.path.join(place.path, "log")
    with run_pc(place, "--firmware-log", log):
        wait_for(lambda: "No bootable device" in text_of(log), "SeaBIOS's last word")
        said = text_of(log)
        shown = place.does("screenshot", "pc", "--text")
        expect("SeaBIOS (version" in shown and "No bootable device" in shown, shown)
        picture = place.reply("screenshot", "pc", os.path.join(place.path, "screen.png"))
        expect((picture["width"], picture["height"]) == (720, 400), picture)
        for words in ("SeaBIOS (version", "Found QEMU fw_cfg", "fw_cfg DMA interface supported",
                      "qemu/e820: addr 0x0000000000000000 len 0x0000000004000000 [RAM]",
                      "PIIX3/PIIX4 init: elcr=00 0c", "Using pmtimer, ioport 0x608",
                      "Found 1 cpu(s)", "Copying SMBIOS", "(via xsdt)"):
            expect(words in said, f"{words}: {said}")
        place.does("button", "pc")
        place.does("pause", "pc")
        tree = place.reply("inspect", "pc")
        said = text_of(log)
        place.does("resume", "pc")
        expect(tree["sandbox"]["seccomp"] == "yes", tree["sandbox"])
        expect("host_bridge" in tree["devices"] and "ged" not in tree["devices"], tree["devices"])
        # PWRBTN_STS, which no guest has cleared.
        button = bytes.fromhex(tree["devices"]["piix4_pm"]["registers"].removeprefix("0x"))[1]
        expect(button & 1, tree["devices"]["piix4_pm"])
        expect("pit" in tree["partition"]["irqchip"], tree["partition"]["irqchip"])
        written = tree["devices"]["firmware_log"]["figures"]
        expect(written["bytes-written"] >= len(said) and not written["bytes-lost"], written)


# At 0000:7c00, with the number of the boot disk in DL: reads its second sector by cylinder, head and
# sector and its third by number, writes the former as its fourth, and prints both.
SERVICES = bytes([
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0,  # xor ax, ax; mov ds, ax; mov es, ax
    0xb8, 0x01, 0x02, 0xbb, 0x00, 0x7e,  # read one sector to 0x7e00:
    0xb9, 0x02, 0x00, 0xb6, 0x00,        # cylinder 0, sector 2, head 0
    0xcd, 0x13, 0x72, 0x27,              # int 0x13; jc failed
    0xbe, 0x80, 0x7c, 0xb4, 0x42,        # read as the packet at 0x7c80 says
    0xcd, 0x13, 0x72, 0x1e,
    0xbe, 0x90, 0x7c, 0xb8, 0x00, 0x43,  # write as the next one says
    0xcd, 0x13, 0x72, 0x14,
    0xb8, 0x03, 0x00, 0xcd, 0x10,        # int 0x10: 80 columns of text
    0xbe, 0x00, 0x7e, 0xe8, 0x0e, 0x00,  # print what is at 0x7e00,
    0xbe, 0x00, 0x80, 0xe8, 0x08, 0x00,  # and at 0x8000
    0xf4, 0xeb, 0xfd,                    # rest
    0xb0, 0x01, 0xe6, 0xf4, 0xf4,        # failed: debug exit, with 1
    0xac, 0x84, 0xc0, 0x74, 0x09,        # print: each character up to the 0
    0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, 0xeb, 0xf2,
    0xc3,
])


def packet(sector, address):
    """What int 0x13 takes with 0x42 and 0x43: one sector of the disk, and where it is in memory."""
    return struct.pack("<BBHHHQ", 16, 0, 1, address, 0, sector)


@test
def boot_sectors_use_the_firmware_s_services(place):
    boot = SERVICES.ljust(0x80, b"\0") + packet(2, 0x8000) + packet(3, 0x7e00)
    first, second = b"Read by its place, ", b"and by its number."
    disk = place.file("disk", boot.ljust(510, b"\0") + b"\x55\xaa" + first.ljust(512, b"\0")
                      + second.ljust(512, b"\0") + bytes(4 << 20))
    with run_pc(place, "--debug-exit", "--disk", disk):
        wait_for(lambda: (first + second).decode() in place.run("screenshot", "pc", "--text").stdout,
                 "what was printed")
        shown = place.does("screenshot", "pc", "--text")
        expect("SeaBIOS" not in shown, f"the mode that was set clears the screen: {shown}")
    with open(disk, "rb") as file:
        expect(file.read(4 * 512)[3 * 512:].rstrip(b"\0") == first, "what was written")


# Stands in for the worker, and keeps what it is told.
LISTENER = """#!/usr/bin/env python3
import os, socket
link = socket.socket(fileno=3)
data = b""
while b"\\0" not in data:
    part, files, _, _ = socket.recv_fds(link, 1 << 16, 250)
    if not part:
        break
    data += part
with open(%r, "wb") as file:
    file.write(data.split(b"\\0")[0])
link.sendall(b'{"event":"end","reason":"stopped","code":0,"message":""}\\0')
"""


@test
def a_full_host_is_every_controller_s_concern(place):
    need_kvm()
    told = os.path.join(place.path, "told")
    worker = place.file("worker", (LISTENER % told).encode())
    os.chmod(worker, 0o755)
    place.environment["BULKHEAD_VMWP"] = worker
    for word in ("pause", "report"):
        place.run("run", "--generation", "1", "--disk", place.file("disk"), "--console", "none",
                  "--on-full", word)
        with open(told, encoding="utf-8") as file:
            devices = json.load(file)["devices"]
        os.unlink(told)
        heard = {device["device"]: device["on_full"] for device in devices
                 if "on_full" in device}
        expect(heard == {"ide": word, "floppy": word, "scsi": word}, devices)


# Writes a sector by the emulated controller, and ends with its status.
WRITES = bytes([
    0x66, 0xb8, 0x40, 0x39, 0x00, 0x80,  # mov eax, 0x80003940: the controller's timing,
    0xba, 0xf8, 0x0c, 0x66, 0xef,        # at the PCI bus
    0x66, 0xb8, 0x00, 0x80, 0x00, 0x80,  # mov eax, 0x80008000: both channels are there
    0xba, 0xfc, 0x0c, 0x66, 0xef,
    0xba, 0xf6, 0x01, 0xb0, 0xe0, 0xee,  # the master, by LBA
    0xb2, 0xf2, 0xb0, 0x01, 0xee,        # one sector
    0xb2, 0xf7, 0xb0, 0x30, 0xee,        # WRITE SECTORS
    0xb2, 0xf0, 0xb9, 0x00, 0x01,        # mov cx, 256
    0xf3, 0x6f,                          # rep outsw
    0xb2, 0xf7,                          # as long as it is busy:
    0xec, 0xa8, 0x80, 0x75, 0xfb,
    0xe6, 0xf4,                          # debug exit
    0xf4,
])
READY, ERROR = 0x50, 0x01


def in_a_full_place(path):
    """The words before a command for which a file system without room is at path, with a disk and
    what takes the room; none where this host lets nobody mount one."""
    unshare = ["unshare", "--mount"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-current-user"]
    script = ('mount -t tmpfs -o size=1m,mode=0777 none "$0" && truncate -s 64M "$0/disk" && '
              '{ cat /dev/zero > "$0/filler" 2> /dev/null; exec "$@"; }')
    words = [*unshare, "sh", "-c", script, path]
    return words if subprocess.run([*words, "true"], capture_output=True,
                                   timeout=PATIENCE).returncode == 0 else None


@test
def a_write_by_ide_waits_for_room_on_the_host(place):
    need_kvm()
    full = os.path.join(place.path, "full")
    os.mkdir(full)
    within = in_a_full_place(full)
    if not within:
        raise Skip("no right to mount")
    command = [*within, BULKHEAD, "run", "--generation", "1", "--name", "pc", "--memory", "64M",
               "--console", "none", "--firmware", firmware(place, WRITES), "--debug-exit",
               "--disk", full + "/disk"]
    result = subprocess.run([*command, "--on-full", "report"], env=place.environment,
                            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    expect(result.returncode == READY | ERROR, result)
    with subprocess.Popen([*command, "--on-full", "pause"], env=place.environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline()
            expect("no room" in said and full + "/disk" in said and "paused" in said, said)
            place.does("resume", "pc")
            expect("no room" in process.stderr.readline(), "the second try")
            os.unlink(f"/proc/{process.pid}/root{full}/filler")
            place.does("resume", "pc")
            _, said = process.communicate(timeout=PATIENCE)
            expect(process.returncode == READY, f"exit {process.returncode}: {said}")
        finally:
            process.kill()


@test
def every_way_to_reset_starts_the_firmware_again(place):
    need_kvm()
    image = firmware(place, STARTS)
    result = place.run("run", "--generation", "1", "--firmware", image, "--debug-exit",
                       "--console", "none")
    expect(result.returncode == 4, result)
    result = place.run("run", "--generation", "1", "--firmware", image, "--debug-exit",
                       "--console", "none", "--on-reset", "exit")
    expect(result.returncode == 3, result)


@test
def bad_firmware_is_refused(place):
    need_kvm()
    small, odd = place.file("small"), place.file("odd", b"x" * 0x28000)
    large = place.file("large", b"x" * (FIRMWARE_SIZE + 1))
    for path, word in ((small, "512 bytes"), (odd, "KiB"), (large, "256 KiB"),
                       ("/nonexistent", "no such file"), (place.path, "directory")):
        expect_failure(place.run("run", "--generation", "1", "--firmware", path), 1, path, word)
    expect_failure(place.run("run", "--generation", "1", "--firmware", odd, "--firmware-log", odd),
                   1, "--firmware-log", "same file as --firmware")


@test
def the_firmware_offers_a_menu(place):
    def shows(words):
        return lambda: words in place.run("screenshot", "pc", "--text").stdout

    with run_pc(place, "--boot-menu", "60", "--disk", place.file("disk.img", bytes(1 << 20))):
        wait_for(shows("Press ESC for boot menu"), "the offer")
        place.does("send-key", "pc", "esc")
        wait_for(shows("Select boot device"), "the menu")
        place.does("send-key", "pc", "1")
        wait_for(shows("Booting from Hard Disk"), "the choice")
        # The boot sector is read by IDE; nothing by the channel that it is offered on as well.

        def reads():
            rows = [line.split() for line in place.does("counters", "pc").splitlines()]
            return {" ".join(row[:-7]): int(row[-7]) for row in rows if row[:1] == ["ide"]}

        wait_for(lambda: reads()["ide 0"] > 0, "the boot sector")
        expect(reads()["ide 0 vmbus"] == 0, reads())


@test
def media_change_while_a_pc_runs(place):
    first, second = place.file("a.iso", bytes(4096)), place.file("b.iso", bytes(8192))
    floppy = place.file("a.img", bytes(1440 << 10))
    with run_pc(place, "--disk", place.file("disk.img", bytes(1 << 20)), "--cdrom", first):
        def holds(path, device):
            return path in json.dumps(place.reply("inspect", "pc")["devices"][device])

        wait_for(lambda: place.run("inspect", "pc").returncode == 0, "the VM")
        expect(holds(first, "ide"), "the first")
        place.does("disk", "insert", "pc", "1", second, "--controller", "ide")
        expect(holds(second, "ide") and not holds(first, "ide"), "the second")
        place.does("disk", "insert", "pc", "0", floppy, "--controller", "floppy")
        expect(holds(floppy, "floppy"), "a floppy")
        place.does("disk", "eject", "pc", "0", "--controller", "floppy")
        expect(not holds(floppy, "floppy"), "none")
        limits = place.reply("disk", "set", "pc", "0", "--controller", "ide", "--iops", "70")
        expect((limits["lun"], limits["iops"]) == (0, 70), limits)
        for words in (("insert", "pc", "0", second, "--controller", "ide"),
                      ("insert", "pc", "1", first), ("detach", "pc", "0", "--controller", "ide"),
                      ("attach", "pc", first, "--controller", "floppy"),
                      ("insert", "pc", "0", second, "--controller", "floppy"),
                      ("set", "pc", "3", "--controller", "ide", "--iops", "7")):
            expect_failure(place.run("disk", *words), 1, "pc")


def tried_first(log):
    """What the firmware began to boot from, by what it says in its log."""
    return text_of(log).split("Booting from ", 1)[1].split("...", 1)[0]


@test
def the_daemon_keeps_a_pc(place):
    need_kvm()
    disk, more = place.file("disk.img", bytes(1 << 20)), place.file("more.img", bytes(1 << 20))
    floppy, log = place.file("floppy.img", bytes(1440 << 10)), os.path.join(place.path, "log")
    with Daemon(place):
        place.does("vm", "create", "pc", "--generation", "1", "--memory", "64M", "--disk", disk,
                   "--cdrom", "none", "--floppy", f"{floppy},ro", "--boot-order", "floppy,disk",
                   "--firmware-log", os.path.relpath(log), "--no-nic")
        made = place.reply("vm", "show", "pc")["vm"]["settings"]
        expect(made["boot"]["firmware_log"] == log and not os.path.exists(log), made)
        expect(made["generation"] == 1 and made["boot"]["order"] == "floppy,disk", made)
        expect([disk["kind"] for disk in made["disks"]] == ["disk", "cdrom", "floppy"], made)
        expect(not any("lun" in disk for disk in made["disks"]), made)
        place.does("vm", "start", "pc")
        wait_for(lambda: "No bootable device" in place.run("screenshot", "pc", "--text").stdout,
                 "SeaBIOS's last word")
        shown = place.does("screenshot", "pc", "--text")
        expect(shown.index("Booting from Floppy") < shown.index("Booting from Hard Disk"), shown)
        # What the emulated controller has read is the disk's, and the VM's.
        reads = [line.split()[-1] for line in place.does("metrics").splitlines()
                 if line.startswith('bulkhead_vm_disk_reads_total{vm="pc",disk="disk0"}')]
        expect(len(reads) == 1 and int(reads[0]) > 0, reads)
        used = place.reply("vm", "measure", "pc")["measure"]["since_start"]
        expect(used["disk_reads"] > 0, used)
        # Media and limits of what is on IDE change at once.
        medium, other = place.file("cd.iso", bytes(64 << 10)), place.file("b.img", bytes(720 << 10))
        for words in (("insert", "pc", "disk1", medium), ("set", "pc", "disk0", "--iops", "900"),
                      ("insert", "pc", "disk2", other)):
            expect(place.reply("disk", *words)["waiting"] is False, words)
        devices = place.reply("inspect", "pc")["devices"]
        expect(medium in json.dumps(devices["ide"]) and other in json.dumps(devices["floppy"]),
               devices["ide"], devices["floppy"])
        expect(devices["ide"]["channel@0"]["unit@0"]["iops"] == 900, devices["ide"])
        place.does("disk", "eject", "pc", "disk1")
        expect(medium not in json.dumps(place.reply("inspect", "pc")["devices"]["ide"]), "eject")
        # What comes while it runs is on the SCSI controller; what is on IDE stays until it is off.
        expect("waits" not in place.does("disk", "attach", "pc", more), "it waits")
        listed = [line.split()[:3] for line in place.does("disk", "list", "pc").splitlines()[1:]]
        expect(listed == [["disk0", "disk", "ide"], ["disk1", "cdrom", "ide"],
                          ["disk2", "floppy", "-"], ["disk3", "disk", "0"]], listed)
        place.does("disk", "detach", "pc", "disk0")
        expect(place.reply("vm", "show", "pc")["vm"]["waiting"] == ["disks.disk0"], "it is gone")
        expect_failure(place.run("vm", "set", "pc", "generation=2"), 2, "generation")
        expect_failure(place.run("vm", "set", "pc", "boot.kernel=/k"), 2, "boot.kernel")
        place.does("vm", "stop", "pc", "--turn-off")
        place.does("vm", "set", "pc", "boot.order=")
        # Each start has it anew, and tells where it cannot be written.
        expect(tried_first(log) == "Floppy", text_of(log))
        place.does("vm", "start", "pc")
        wait_for(lambda: "No bootable device" in text_of(log), "the second log")
        expect(tried_first(log) == "DVD/CD", text_of(log))
        place.does("vm", "stop", "pc", "--turn-off")
        place.does("vm", "set", "pc", "--firmware-log", more)
        expect_failure(place.run("vm", "start", "pc"), 1, "--firmware-log", more, "in use")
        expect(os.path.getsize(more) == 1 << 20, "the disk was emptied")
        place.does("vm", "set", "pc", "boot.firmware_log=")
        expect("firmware_log" not in place.reply("vm", "show", "pc")["vm"]["settings"]["boot"],
               "it is still there")
        expect_failure(place.run("vm", "create", "linux", "--kernel", "/k", "--floppy", floppy),
                       2, "Generation 1")
        expect(len(place.reply("vm", "list")["vms"]) == 1, "another was made")


@test
def a_generation_has_its_own_options(place):
    kernel = place.file("kernel")
    for words, said in ((["--generation", "3"], "give 1 or 2"),
                        (["--generation", "1", "--kernel", kernel], "leave out"),
                        (["--generation", "1", "--append", "quiet"], "leave out"),
                        (["--kernel", kernel, "--firmware", kernel], "--generation 1"),
                        (["--kernel", kernel, "--boot-order", "cd"], "--generation 1"),
                        (["--kernel", kernel, "--boot-menu", "5"], "--generation 1"),
                        (["--generation", "1", "--boot-menu", "61"], "1 to 60"),
                        (["--kernel", kernel, "--nic", "user,legacy"], "--generation 1"),
                        (["--generation", "1", "--boot-order", "disk,cd,disk"], "once"),
                        (["--generation", "1", "--boot-order", ""], "once"),
                        (["--generation", "1", "--nic", "tap=t,legacy,queues=2"], "one queue"),
                        (["--generation", "1", "--floppy", "a.img,direct"], "raw image"),
                        (["--generation", "1", "--floppy", "a.img,format=vhd"], "raw image"),
                        (["--kernel", kernel, "--firmware-log", "log"], "--generation 1"),
                        (["--generation", "2"], "--kernel is missing")):
        expect_failure(place.run("run", *words), 2, said)


if __name__ == "__main__":
    sys.exit(main())
