"""Stock guests for the benchmark table, under Bulkhead and under QEMU, and what binds them."""

import collections
import os
import re
import statistics
import subprocess
import sys
import time

TAP = "bhbench0"
HOST_ADDRESS = "192.168.77.1/24"
TICKS = os.sysconf("SC_CLK_TCK")
# Of a thread's or the CPUs' time; more is as good as all.
ALL = 0.85


def append(test, more=""):
    return f"console=ttyS0 quiet panic=-1 bh.test={test} {more}"


def bulkhead(program, images, command_line, disks, *options, cpus=2):
    command = [program, "run", "--name", "bench", "--cpus", str(cpus), "--memory", "512M",
               "--kernel", f"{images}/vmlinuz", "--initrd", f"{images}/initrd.img",
               "--append", command_line, "--console", "stdio"]
    for path in disks:
        command += ["--disk", path]
    return command + list(options)


def qemu(images, command_line, machine, *devices, cpus=2):
    """Guest memory is in a memfd, as ours is; there is an I/O thread of the name io."""
    return ["qemu-system-x86_64", "-M", f"{machine},memory-backend=ram", "-accel", "kvm",
            "-cpu", "host", "-smp", str(cpus), "-m", "512", "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot",
            "-object", "memory-backend-memfd,id=ram,share=on,size=512M",
            "-object", "iothread,id=io", "-kernel", f"{images}/vmlinuz",
            "-initrd", f"{images}/initrd.img", "-append", command_line, *devices]


def virtio_disks(disks, device):
    """device: virtio-blk-device or -pci, with its options."""
    options = []
    for path in disks:
        name = os.path.basename(path)
        options += ["-drive", f"id={name},if=none,format=raw,aio=io_uring,file={path}",
                    "-device", f"{device},drive={name},iothread=io"]
    return options


def virtio_nic(queues, vhost):
    options = f",queues={queues}" if queues > 1 else ""
    device = f",mq=on,vectors={2 * queues + 2}" if queues > 1 else ""
    return ["-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no"
                       f",vhost={'on' if vhost else 'off'}{options}",
            "-device", f"virtio-net-pci,netdev=net{device}"]


def make_tap(queues):
    """One that is new, for QEMU wants another kind for several queues."""
    remove_tap()
    several = ["multi_queue"] if queues > 1 else []
    subprocess.run(["ip", "tuntap", "add", TAP, "mode", "tap", *several], check=True)
    subprocess.run(["ip", "addr", "add", HOST_ADDRESS, "dev", TAP], check=True)
    subprocess.run(["ip", "link", "set", TAP, "up"], check=True)


def remove_tap():
    subprocess.run(["ip", "link", "del", TAP], stderr=subprocess.DEVNULL, check=False)


def fields(path):
    """Of a stat file in /proc, behind the name; None if its process is gone."""
    try:
        with open(path) as file:
            name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        return name, rest.split()
    except OSError:
        return None


def thread_times():
    """What each thread of this machine has had of CPUs, in ticks, and its name."""
    times = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            found = fields(f"/proc/{pid}/task/{thread}/stat")
            if found:
                times[thread] = (int(found[1][11]) + int(found[1][12]), found[0])
    return times


class Load:
    """What the threads of this machine do from its making on."""

    def __init__(self):
        self.threads = thread_times()
        self.idle = self.idle_ticks()
        self.start = time.monotonic()

    @staticmethod
    def idle_ticks():
        with open("/proc/stat") as file:
            return sum(int(n) for n in file.readline().split()[4:6])

    def what_binds(self):
        ticks = (time.monotonic() - self.start) * TICKS
        cpus = len(os.sched_getaffinity(0))
        if self.idle_ticks() - self.idle < (1 - ALL) * ticks * cpus:
            return f"{cpus} CPUs bind"
        busy, name = max((t - self.threads.get(i, (0, ""))[0], n)
                         for i, (t, n) in thread_times().items())
        return f"the thread {name} binds" if busy > ALL * ticks else "waits for each other bind"


class Run:
    """What a guest printed of figures, what bound those that it said it begins, and its last
    words; "boot" is the seconds until its init ran, "grub" and "after-grub" are its parts."""

    def __init__(self, command):
        self.facts, self.binds = {}, {}
        self.last_words = collections.deque(maxlen=20)
        self.load = None
        start = time.monotonic()
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as guest:
            for line in guest.stdout:
                self.last_words.append(line)
                found = re.match(r"bh: ([\w-]+): ([^\r\n]+?)\s*$", line)
                if found:
                    self.hear(found[1], found[2], time.monotonic() - start)

    def hear(self, name, value, since):
        if name == "grub":
            self.facts["grub"] = since
        elif name == "up":
            self.facts["boot"] = since
            self.facts["after-grub"] = since - self.facts.get("grub", 0)
        elif name == "begins":
            self.load = Load()
        elif re.fullmatch(r"[\d.e+-]+( [\d.e+-]+)*", value):
            values = [float(v) for v in value.split()]
            self.facts[name] = values if len(values) > 1 else values[0]
            if self.load:
                self.binds[name] = self.load.what_binds()


class Samples:
    """The runs, by who they are of."""

    def __init__(self):
        self.runs = {}

    def take(self, who, command):
        self.runs.setdefault(who, []).append(Run(command))

    def median(self, who, key):
        """Of a figure; of lists, a list."""
        taken = [run.facts[key] for run in self.runs[who] if key in run.facts]
        if not taken:
            sys.exit(f"no guest of '{who}' printed '{key}'; the last one's last words:\n"
                     + "".join(self.runs[who][-1].last_words))
        if isinstance(taken[0], list):
            return [statistics.median(values) for values in zip(*taken)]
        return statistics.median(taken)

    def binds(self, who, key):
        """What did in the last run."""
        return self.runs[who][-1].binds.get(key, "nobody knows what binds")
