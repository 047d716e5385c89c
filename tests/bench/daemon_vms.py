"""VMs under the management daemon for the benchmark table, and QEMU processes started by hand."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE = 60
GUEST_BYTES = 16 << 20
IDLE_SECONDS = 4
MEMORY_FILES = "/dev/shm"


class Client:
    """A connection to the daemon."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.data = b""

    def send(self, method, more=False, **parameters):
        message = {"method": "io.bulkhead.VMMS." + method, "parameters": parameters}
        if more:
            message["more"] = True
        self.socket.sendall(json.dumps(message).encode() + b"\0")

    def reply(self):
        while b"\0" not in self.data:
            part = self.socket.recv(1 << 20)
            if not part:
                raise ConnectionError("the daemon hung up")
            self.data += part
        text, self.data = self.data.split(b"\0", 1)
        answer = json.loads(text)
        if "error" in answer:
            raise RuntimeError(answer["parameters"].get("message", answer["error"]))
        return answer["parameters"]

    def call(self, method, **parameters):
        self.send(method, **parameters)
        return self.reply()


class Daemon:
    """bulkhead-vmms in a directory; at the end every VM of its is turned off."""

    def __init__(self, program, directory):
        # In memory, as /run is.
        memory = MEMORY_FILES if os.access(MEMORY_FILES, os.W_OK) else None
        self.run = tempfile.TemporaryDirectory(prefix="bulkhead-bench-", dir=memory)
        self.socket = os.path.join(self.run.name, "vmms.sock")
        self.command = [program, "--socket", self.socket,
                        "--state", os.path.join(directory, "state")]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = None
        end = time.monotonic() + PATIENCE
        while not self.client:
            try:
                self.client = Client(self.socket)
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("the daemon does not start") from None
                time.sleep(0.01)

    def __enter__(self):
        return self

    def call(self, method, **parameters):
        return self.client.call(method, **parameters)

    def create(self, name, kernel, **more):
        settings = {"version": 1, "name": name, "processors": {"count": 1},
                    "memory": {"startup": GUEST_BYTES}, "boot": {"kernel": kernel}, **more}
        return self.call("CreateVM", settings=settings)["vm"]

    def running(self):
        return [vm["name"] for vm in self.call("ListVMs")["vms"] if vm["state"] != "off"]

    def __exit__(self, *_):
        try:
            # Another connection, for this one may have been left in the middle.
            self.client = Client(self.socket)
            for name in self.running():
                self.call("StopVM", vm=name, turn_off=True)
        except (OSError, RuntimeError):
            pass
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.run.cleanup()


def list_ms(daemon, count, runs):
    """Milliseconds of ListVMs, each in a connection of its own as a command has it."""
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        found = len(Client(daemon.socket).call("ListVMs")["vms"])
        samples.append((time.perf_counter() - start) * 1000)
        if found != count:
            raise RuntimeError(f"{found} VMs are listed, not {count}")
    return sorted(samples)[len(samples) // 2]


def adopt_ms(daemon, count):
    """From the start of a daemon, where one was killed, to its first answer: all run still."""
    daemon.process.kill()
    daemon.process.wait(PATIENCE)
    start = time.perf_counter()
    daemon.start()
    states = [vm["state"] for vm in daemon.call("ListVMs")["vms"]]
    milliseconds = (time.perf_counter() - start) * 1000
    if states.count("running") != count:
        raise RuntimeError(f"{states.count('running')} VMs are adopted, not {count}")
    return milliseconds


def command_ms(program, daemon, runs):
    """The same by `bulkhead vm list`, from its exec to its end."""
    samples = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([program, "vm", "list"], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, BULKHEAD_SOCKET=daemon.socket))
        samples.append((time.perf_counter() - start) * 1000)
    return sorted(samples)[len(samples) // 2]


def pss_kib(pid, guest_kib):
    """PSS of a process but for the guest's RAM: what is mapped in that size."""
    total = 0
    skip = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as file:
        for line in file:
            if "-" in line.split(" ", 1)[0] and ":" not in line.split(" ", 1)[0]:
                first, last = line.split(" ", 1)[0].split("-")
                skip = (int(last, 16) - int(first, 16)) // 1024 >= guest_kib - 1024
            elif line.startswith("Pss:") and not skip:
                total += int(line.split()[1])
    return total


def descendants(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        found = [int(word) for word in file.read().split()]
    return [pid] + [other for child in found for other in descendants(child)]


def cpu_ns(pids):
    """What all threads of these processes have had of the CPUs."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="utf-8") as file:
                total += int(file.read().split()[0])
    return total


def idle_us(pids):
    """Microseconds of CPU a second that processes take who have nothing to do."""
    time.sleep(1)
    start, before = time.perf_counter(), cpu_ns(pids)
    time.sleep(IDLE_SECONDS)
    return (cpu_ns(pids) - before) / 1000 / (time.perf_counter() - start)


def available_kib():
    with open("/proc/meminfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1])
    raise RuntimeError("the host does not tell its memory")


class Vms:
    """As many VMs as are asked for, or as the host lets run, started a few at a time."""

    def __init__(self, daemon, kernel, count):
        self.daemon = daemon
        self.names = [f"bench-{i}" for i in range(count)]
        self.refused = None  # why there are not as many
        for name in self.names:
            daemon.create(name, kernel)

    def for_all(self, method, at_once, **parameters):
        """The call for every VM; those for which it went well."""
        clients = [Client(self.daemon.socket) for _ in range(at_once)]
        waiting = {}
        left = list(reversed(self.names))
        done = []
        while left or waiting:
            for client in clients:
                if left and client not in waiting:
                    waiting[client] = left.pop()
                    client.send(method, vm=waiting[client], **parameters)
            ready, _, _ = select.select([c.socket for c in waiting], [], [], PATIENCE)
            if not ready:
                raise RuntimeError(f"{method} is not answered")
            for client in [c for c in waiting if c.socket in ready]:
                name = waiting.pop(client)
                try:
                    client.reply()
                    done.append(name)
                except RuntimeError as refused:
                    self.refused = str(refused)
                    left = []
        return done

    def start(self, at_once):
        """Seconds until all of them run, or as many as can."""
        start = time.perf_counter()
        self.names = self.for_all("StartVM", at_once)
        seconds = time.perf_counter() - start
        if not self.names:
            raise RuntimeError(self.refused)
        return seconds

    def stop(self, at_once):
        self.for_all("StopVM", at_once, turn_off=True)

    def processes(self):
        """The worker of each VM, and its supervisor with whatever else it started."""
        for name in self.names:
            vm = self.daemon.call("GetVM", vm=name)["vm"]
            others = descendants(vm["supervisor"])
            yield vm["worker"], [pid for pid in others if pid != vm["worker"]]

    def memory_kib(self):
        """Of each VM beyond its RAM: its worker, and its supervisor."""
        workers, supervisors = [], []
        for worker, others in self.processes():
            workers.append(pss_kib(worker, GUEST_BYTES >> 10))
            supervisors.append(sum(pss_kib(pid, GUEST_BYTES >> 10) for pid in others))
        return sum(workers) / len(workers), sum(supervisors) / len(supervisors)

    def idle_us(self):
        """Of each VM, with its share of the daemon."""
        pids = [pid for worker, others in self.processes() for pid in [worker, *others]]
        return idle_us([self.daemon.process.pid, *pids]) / len(self.names)


class Qemus:
    """The same of QEMU: a process each, which is up when its guest has said so."""

    def __init__(self, command, count):
        self.command = command
        self.count = count
        self.processes = []

    def start(self, at_once):
        waiting = {}
        start = time.perf_counter()
        while len(self.processes) < self.count or waiting:
            while len(self.processes) < self.count and len(waiting) < at_once:
                process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                self.processes.append(process)
                waiting[process.stdout] = process
            ready, _, _ = select.select(list(waiting), [], [], PATIENCE)
            if not ready:
                raise RuntimeError("QEMU does not start")
            for stream in ready:
                if not os.read(stream.fileno(), 1):
                    raise RuntimeError("QEMU ends at once")
                del waiting[stream]
        return time.perf_counter() - start

    def idle_us(self):
        return idle_us([p.pid for p in self.processes]) / self.count

    def memory_kib(self):
        return sum(pss_kib(p.pid, GUEST_BYTES >> 10) for p in self.processes) / self.count

    def stop(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait(PATIENCE)
            process.stdout.close()
        self.processes = []


def qemu_command(kernel):
    """None where it is not installed."""
    program = shutil.which("qemu-system-x86_64")
    return program and [program, "-M", "microvm", "-accel", "kvm", "-cpu",
                        "host,-arch-capabilities", "-m", str(GUEST_BYTES >> 20), "-nodefaults",
                        "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
                        "-kernel", kernel]


def wait_event(client, name, wanted):
    while True:
        event = client.reply()
        if event.get("name") == name and wanted(event):
            return event


def kill_ms(daemon, name):
    """From a worker's SIGKILL to the event of its VM's new state."""
    daemon.call("StartVM", vm=name)
    worker = daemon.call("GetVM", vm=name)["vm"]["worker"]
    watcher = Client(daemon.socket)
    # Once it has heard of the past it hears of all that comes.
    watcher.send("WatchEvents", more=True, vm=name, history=1)
    watcher.reply()
    start = time.perf_counter()
    os.kill(worker, signal.SIGKILL)
    wait_event(watcher, name,
               lambda e: (e.get("details") or {}).get("state") == "off_after_crash")
    return (time.perf_counter() - start) * 1000
