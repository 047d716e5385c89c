#!/usr/bin/env python3
"""The daemon's switches, on hosts that are network namespaces; TAP on standard output.

    switch.py BULKHEAD PAYLOADS SWITCH_DAEMON
"""

import contextlib
import difflib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from harness import BULKHEAD, PATIENCE, expect, main, payload, test, wait_for

DAEMON = sys.argv[3]
VMMS = os.path.join(os.path.dirname(BULKHEAD), "bulkhead-vmms")
NAME_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lab/name_server")
TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"
VM = "6b0fd53c-8d7b-4a55-9b4e-2d7f0d7a2c11"
VNET_BYTES = 10  # struct virtio_net_hdr, before each frame


class Namespace:
    """A network of its own, with a mount namespace; below another it shares its user namespace."""

    def __init__(self, below=None):
        user = ["--user", "--map-root-user"] if os.geteuid() and not below else []
        command = ["unshare", *user, "--mount", "--net", "sh", "-c",
                   "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up && "
                   "echo && exec cat"]
        self.process = subprocess.Popen([*(below.enter() if below else []), *command],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=dict(os.environ, PATH=TOOLS))
        expect(self.process.stdout.readline() == b"\n", "no namespaces")
        self.pid = self.process.pid
        self.other_user = bool(os.geteuid())

    def enter(self):
        user = ["--user", "--preserve-credentials"] if self.other_user else []
        return [shutil.which("nsenter", path=TOOLS), "--target", str(self.pid), *user, "--mount", "--net"]

    def run(self, *command, **options):
        options.setdefault("timeout", PATIENCE)
        options.setdefault("env", dict(os.environ, PATH=TOOLS))
        return subprocess.run([*self.enter(), *command], capture_output=True, text=True, **options)

    def does(self, *command, **options):
        result = self.run(*command, **options)
        expect(result.returncode == 0, result)
        return result.stdout

    def script(self, text):
        return self.does("sh", "-ec", text)

    def start(self, *command, **options):
        return subprocess.Popen([*self.enter(), *command], env=dict(os.environ, PATH=TOOLS),
                                **options)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Daemon:
    """switch_daemon, on a host."""

    def __init__(self, host, place, **environment):
        self.state = os.path.join(place.path, "state")
        self.runtime = os.path.join(place.path, "run")
        os.makedirs(self.state, exist_ok=True)
        os.makedirs(self.runtime, exist_ok=True)
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self.words = tempfile.TemporaryFile("w+")
        prefix = environment.pop("prefix", [])
        self.process = subprocess.Popen(
            [*host.enter(), *prefix, DAEMON, self.state, self.runtime], stdin=theirs,
            stdout=subprocess.DEVNULL, stderr=self.words,
            env=dict(os.environ, PATH=environment.pop("PATH", TOOLS), **environment))
        theirs.close()
        self.data = b""
        self.fds = []
        self.notices = []

    def message(self):
        while b"\0" not in self.data:
            part, fds, _, _ = socket.recv_fds(self.socket, 65536, 32)
            self.fds += fds
            if not part:
                self.words.seek(0)
                raise AssertionError(f"the daemon ended: {self.words.read()}")
            self.data += part
        text, self.data = self.data.split(b"\0", 1)
        return json.loads(text)

    def notice(self, *words):
        """Waits for one that has the words."""
        while True:
            for sentence in self.notices:
                if all(word in sentence for word in words):
                    self.notices.remove(sentence)
                    return sentence
            message = self.message()
            expect("notice" in message, f"an answer to nothing: {message}")
            self.notices.append(message["notice"])

    def send(self, verb, **parameters):
        self.socket.sendall(json.dumps({"do": verb, **parameters}).encode() + b"\0")

    def ask(self, verb, **parameters):
        self.send(verb, **parameters)
        while True:
            message = self.message()
            if "notice" not in message:
                return message
            self.notices.append(message["notice"])

    def open(self, queues=1, name="default", vm=VM):
        """The descriptors of a tap, and its name."""
        answer = self.ask("open", switch=name, queues=queues, vm=vm)
        expect("error" not in answer, answer)
        fds, self.fds = self.fds, []
        expect(len(fds) == queues, fds)
        return fds, answer["interface"]

    def refuses(self, *words, **parameters):
        answer = self.ask("open", **{"switch": "default", "queues": 1, "vm": VM, **parameters})
        expect("error" in answer and not self.fds, answer)
        for word in words:
            expect(word in answer["error"], f"no {word!r} in {answer}")
        return answer

    def show(self):
        return self.ask("show")["switches"][0]

    def adopt(self):
        expect(self.ask("adopt") == {}, "the switch is taken over")

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.socket.close()

    def end(self, verb="undo"):
        self.ask(verb)
        expect(self.process.wait(PATIENCE) == 0, "the daemon ends well")
        self.socket.close()

    def record(self):
        with open(os.path.join(self.runtime, "switch/default.json"), encoding="utf-8") as file:
            return json.load(file)


@contextlib.contextmanager
def world():
    """A host that forwards nothing, and an outside at 10.9.0.1 that it reaches."""
    host = Namespace()
    outside = Namespace(host)
    try:
        host.script(f"ip link add outside0 type veth peer name inside netns {outside.pid}\n"
                    "ip addr add 10.9.0.2/24 dev outside0\nip link set outside0 up\n"
                    "ip route add default via 10.9.0.1")
        outside.script("ip addr add 10.9.0.1/24 dev inside\nip link set inside up")
        yield host, outside
    finally:
        for pid in dnsmasqs(host):  # of a test that failed
            os.kill(pid, signal.SIGKILL)
        outside.close()
        host.close()


def dnsmasqs(host):
    """Those that have the host's network."""
    network = os.stat(f"/proc/{host.pid}/ns/net").st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            if file.read() == "dnsmasq\n" and os.stat(f"/proc/{pid}/ns/net").st_ino == network:
                yield int(pid)


def picture(host):
    """All of the host's network that a switch could change, but for what changes by itself."""
    text = host.script("nft list ruleset; ip -d link; ip addr; ip route; ip -6 route; ip rule; "
                       "bridge link; cd /proc/sys/net; grep -H . ipv4/ip_forward "
                       "ipv4/conf/*/forwarding ipv6/conf/*/forwarding")
    return re.sub(r" numtxqueues.*|_timer +[0-9.]+| state [A-Z]+|,LOWER_UP|NO-CARRIER,| linkdown", "",
                  text)


def expect_as_before(host, before):
    differences = difflib.unified_diff(before.splitlines(), picture(host).splitlines(), "before",
                                       "after", n=0, lineterm="")
    differences = "\n".join(differences)
    expect(not differences, differences)


LEASE = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "$ip $router $dns $domain"
"""

# Answers a connection with the address that it came from.
SERVER = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
print(flush=True)
while True:
    client, peer = server.accept()
    client.sendall(peer[0].encode())
    client.close()
"""
CLIENT = """
import socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))
print(client.recv(100).decode())
"""


class Guest(Namespace):
    """A machine on a bridge of the host's."""

    def __init__(self, host, bridge, name="guest0"):
        super().__init__(host)
        self.host = host
        self.port = name
        host.script(f"ip link add {name} type veth peer name eth0 netns {self.pid}\n"
                    f"ip link set {name} master {bridge}\nip link set {name} up")
        self.does("ip", "link", "set", "eth0", "up")

    def lease(self, place):
        """Asks for an address: that, the router, the name server and the domain."""
        script = place.file("lease", LEASE.encode())
        os.chmod(script, 0o755)
        said = self.does("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "20", "-T", "1",
                         "-s", script)
        return said.splitlines()[-1].split()

    def leave(self):
        self.host.does("ip", "link", "del", self.port)
        self.close()


@contextlib.contextmanager
def serving(namespace, *command):
    """A program that serves there, and says a line first if it has a line to say."""
    process = namespace.start(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def greeter(namespace, port=7):
    with serving(namespace, sys.executable, "-c", SERVER, str(port)) as process:
        expect(process.stdout.readline() == b"\n", "the server serves")
        yield


def reaches(namespace, address, port=7, patience=PATIENCE):
    """As whom a server there saw us; None if nothing came through."""
    result = namespace.run(sys.executable, "-c", CLIENT, address, str(port), str(patience))
    return result.stdout.strip() if result.returncode == 0 else None


def close_all(fds):
    for fd in fds:
        os.close(fd)


def rules_come(host, table="bulkhead0"):
    wait_for(lambda: host.run("nft", "list", "table", "inet", table).returncode == 0,
             "the packet filter's table")


def forwarding_of(host, interface):
    return host.does("cat", f"/proc/sys/net/ipv4/conf/{interface}/forwarding").strip()


def switch_port(host, daemon):
    """A port that lets the switch be made, where a plain user may open no tap: what to close."""
    answer = daemon.ask("open", switch="default", queues=1, vm=VM)
    if "error" in answer:
        expect(not os.access("/dev/net/tun", os.R_OK | os.W_OK) and "/dev/net/tun" in
               answer["error"], answer)
    fds, daemon.fds = daemon.fds, []
    rules_come(host, daemon.show()["bridge"])
    return fds


def may_have_taps():
    return os.access("/dev/net/tun", os.R_OK | os.W_OK)


@test
def a_switch_comes_and_goes(place):
    with world() as (host, _):
        host.script("ip link add br0 type bridge\nip addr add 192.168.5.1/24 dev br0\n"
                    "ip link set br0 up\nnft add table inet mine\n"
                    "nft add chain inet mine forward '{ type filter hook forward priority 0; }'\n"
                    "nft add rule inet mine forward tcp dport 25 counter drop\n"
                    "nft add table ip nat\n"
                    "nft add chain ip nat post '{ type nat hook postrouting priority 100; }'\n"
                    "nft add rule ip nat post ip saddr 192.168.5.0/24 masquerade")
        before = picture(host)
        daemon = Daemon(host, place)
        expect(daemon.show() == {"name": "default", "state": "absent"}, "none yet")
        daemon.adopt()
        expect_as_before(host, before)
        fds = switch_port(host, daemon)
        shown = daemon.show()
        expect(shown == {"name": "default", "state": "ready", "bridge": "bulkhead0",
                         "subnet": "10.213.0.0/24", "address": "10.213.0.1"}, shown)
        rules = host.does("nft", "list", "ruleset")
        ours = host.does("nft", "list", "table", "inet", "bulkhead0")
        expect(rules.replace(ours, "") in before and "bulkhead" not in rules.replace(ours, ""),
               "no rule of others is touched", rules)
        close_all(fds)
        daemon.end()
        expect_as_before(host, before)
        expect(not os.path.exists(os.path.join(place.path, "run/switch")), "no file stays")


@test
def a_guest_reaches_the_outside(place):
    with world() as (host, outside):
        host.script("echo nameserver 10.9.0.1 >" + place.path + "/resolv\n"
                    f"mount --bind {place.path}/resolv /etc/resolv.conf")
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        guest = Guest(host, "bulkhead0")
        other = Guest(host, "bulkhead0", "guest1")
        with serving(outside, sys.executable, NAME_SERVER, "host.example", "10.9.0.77"), \
             greeter(outside), greeter(other):
            address, router, dns, domain = guest.lease(place)
            expect(re.fullmatch(r"10\.213\.0\.\d+", address), address)
            expect((router, dns, domain) == ("10.213.0.1", "10.213.0.1", "bulkhead"), router, dns)
            wait_for(lambda: forwarding_of(host, "outside0") == "1", "the way out")
            expect(reaches(guest, "10.9.0.1") == "10.9.0.2", "translated")
            wait_for(lambda: "10.9.0.77" in guest.run("busybox", "nslookup", "host.example",
                                                      dns).stdout, "a name")
            theirs = other.lease(place)[0]
            expect(reaches(guest, theirs) == address, "another guest, not translated")
            expect(reaches(host, theirs) == "10.213.0.1", "the host reaches guests")
            outside.does("ip", "route", "add", "10.213.0.0/24", "via", "10.9.0.2")
            expect(reaches(outside, theirs, patience=1) is None, "the outside does not")
            expect("timed out" in outside.run("busybox", "nslookup", "host.example",
                                              "10.213.0.1", timeout=60).stdout,
                   "the name server is the guests'")
        guest.leave()
        other.leave()
        close_all(fds)
        daemon.end()


HEARER = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 7))
print(flush=True)
print(server.recv(100).decode(), flush=True)
"""
SPEAKER = """
import socket, sys
for source, words in zip(sys.argv[2::2], sys.argv[3::2]):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.bind((source, 0))
    client.sendto(words.encode(), (sys.argv[1], 7))
"""


@test
def a_guest_speaks_for_itself_only(place):
    with world() as (host, outside):
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        host.script("for f in all bulkhead0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done")
        guest = Guest(host, "bulkhead0")
        address = guest.lease(place)[0]
        guest.does("ip", "addr", "add", "10.9.0.3/32", "dev", "eth0")
        wait_for(lambda: forwarding_of(host, "outside0") == "1", "the way out")
        for hearer, theirs in ((outside, "10.9.0.1"), (host, "10.213.0.1")):
            with serving(hearer, sys.executable, "-c", HEARER) as process:
                expect(process.stdout.readline() == b"\n", "it hears")
                guest.does(sys.executable, "-c", SPEAKER, theirs, "10.9.0.3", "forged", address, "own")
                expect(process.stdout.readline() == b"own\n", "it spoke for another")
        guest.leave()
        close_all(fds)
        daemon.end()


@test
def a_host_forwards_for_guests_only(place):
    with world() as (host, outside):
        third = Namespace(host)
        host.script(f"ip link add third0 type veth peer name inside netns {third.pid}\n"
                    "ip addr add 10.8.0.2/24 dev third0\nip link set third0 up")
        third.script("ip addr add 10.8.0.1/24 dev inside\nip link set inside up\n"
                     "ip route add default via 10.8.0.2")
        outside.does("ip", "route", "add", "10.8.0.0/24", "via", "10.9.0.2")
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        wait_for(lambda: forwarding_of(host, "outside0") == "1", "the way out")
        expect(sorted(daemon.record()["guarded"]) == ["outside0", "third0"], daemon.record())
        expect(host.does("cat", "/proc/sys/net/ipv4/ip_forward") == "0\n", "not everywhere")
        with greeter(third):
            expect(reaches(outside, "10.8.0.1", patience=1) is None, "it is no router of others")
            # Somebody wants a router: then it is one.
            host.script("echo 1 >/proc/sys/net/ipv4/ip_forward")
            wait_for(lambda: not daemon.record()["guarded"], "the host forwards anyway")
            expect(reaches(outside, "10.8.0.1") == "10.9.0.1", "the guard is gone")
        # And then nobody does.
        host.script("echo 0 >/proc/sys/net/ipv4/ip_forward")
        wait_for(lambda: forwarding_of(host, "outside0") == "1", "the way out again")
        # An interface that comes later leads out, too.
        host.script("ip link add late0 type bridge\nip addr add 10.7.0.1/24 dev late0\n"
                    "ip link set late0 up")
        wait_for(lambda: forwarding_of(host, "late0") == "1", "a later way out")
        close_all(fds)
        daemon.end()
        for interface in ("outside0", "third0", "late0", "all", "default"):
            expect(forwarding_of(host, interface) == "0", interface)
        third.close()


@test
def a_slow_packet_filter_is_waited_for(place):
    """Our own change of the table is told to us before the tool that made it has ended."""
    slow = os.path.join(place.path, "slow-nat")
    with open(slow, "w", encoding="utf-8") as script:
        script.write(f"#!/bin/sh\n{os.environ['BULKHEAD_NAT']} \"$@\"\n"
                     "status=$?\nsleep 0.5\nexit $status\n")
    os.chmod(slow, 0o755)
    with world() as (host, _):
        daemon = Daemon(host, place, BULKHEAD_NAT=slow)
        fds = switch_port(host, daemon)
        wait_for(lambda: forwarding_of(host, "outside0") == "1", "the way out")
        close_all(fds)
        daemon.end()


@test
def a_host_that_forwards_stays_as_it_is(place):
    with world() as (host, _):
        host.script("echo 1 >/proc/sys/net/ipv4/ip_forward\nip link add locked0 type bridge\n"
                    "ip addr add 10.7.0.1/24 dev locked0\n"
                    "echo 0 >/proc/sys/net/ipv4/conf/locked0/forwarding")
        before = picture(host)
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        expect(daemon.record()["guarded"] == [], "nothing to guard")
        close_all(fds)
        daemon.end()
        expect_as_before(host, before)


def frame_of(mac, message, requested=None, server=None):
    """A DHCP message as a guest without an address sends it, with its header for the tap."""
    options = b"\x35\x01" + bytes([message])
    if requested:
        options += b"\x32\x04" + requested + b"\x36\x04" + server
    dhcp = struct.pack(">BBBBIHH16s6s10x192x4s", 1, 1, 6, 0, 0x12345678, 0, 0x8000, b"", mac,
                       b"\x63\x82\x53\x63") + options + b"\xff"
    udp = struct.pack(">HHHH", 68, 67, 8 + len(dhcp), 0) + dhcp
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"", b"\xff" * 4)
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
    return bytes(VNET_BYTES) + b"\xff" * 6 + mac + b"\x08\x00" + ip + udp


def dhcp_answer(fds):
    """The type of the next DHCP message to a guest, and the addresses offered and of the server."""
    end = time.monotonic() + PATIENCE
    while True:
        ready, _, _ = select.select(fds, [], [], end - time.monotonic())
        expect(ready, "no answer")
        frame = os.read(ready[0], 65536)[VNET_BYTES:]
        if frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == b"\x00\x44":
            dhcp = frame[42:]
            expect(dhcp[240:242] == b"\x35\x01", "the type comes first")
            return dhcp[242], dhcp[16:20], frame[26:30]


@test
def taps_carry_frames_on_several_queues(place):
    with world() as (host, _):
        daemon = Daemon(host, place)
        if not may_have_taps():
            daemon.refuses("/dev/net/tun")
            daemon.end()
            return
        mac = bytes.fromhex("00155d010203")
        fds, tap = daemon.open(3)
        more, second = daemon.open(1)
        expect(tap != second, "a tap each")
        detail = host.does("ip", "-d", "link", "show", tap)
        for word in ("master bulkhead0", "numqueues 3", "vnet_hdr on", "persist off",
                     f"vm {VM} nic nic0"):
            expect(word in detail, word, detail)
        os.write(fds[1], frame_of(mac, 1))
        kind, address, server = dhcp_answer(fds)
        expect(kind == 2 and server == bytes([10, 213, 0, 1]), kind, server)
        os.write(fds[0], frame_of(mac, 3, address, server))
        expect(dhcp_answer(fds)[:2] == (5, address), "the address is given")
        with open(os.path.join(daemon.runtime, "switch/default.leases"), encoding="utf-8") as file:
            expect("00:15:5d:01:02:03 " + ".".join(map(str, address)) in file.read(), "the lease")
            mode = os.fstat(file.fileno()).st_mode & 0o777
        expect(mode == 0o600, f"the leases are {mode:o}")
        close_all(more)
        wait_for(lambda: second not in host.does("ip", "link"), "the end of a tap")
        close_all(fds)
        wait_for(lambda: tap not in host.does("ip", "link"), "the end of a tap")
        daemon.refuses("0", queues=0)
        daemon.refuses("17", queues=17)
        daemon.refuses("no switch", "other", switch="other")
        daemon.end()


@test
def the_next_daemon_takes_over(place):
    with world() as (host, outside):
        before = picture(host)
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        guest = Guest(host, "bulkhead0")
        guest.lease(place)
        links = host.does("ip", "-br", "link")
        record = daemon.record()
        daemon.kill()
        with greeter(outside):
            expect(reaches(guest, "10.9.0.1") == "10.9.0.2", "without a daemon")
            daemon = Daemon(host, place)
            daemon.adopt()
            expect(daemon.record() == record, "the same dnsmasq", record, daemon.record())
            expect(host.does("ip", "-br", "link") == links, "the same interfaces")
            expect(reaches(guest, "10.9.0.1") == "10.9.0.2", "with the next one")
            # What ends is started again, by a daemon that did not start it, too.
            for _ in range(2):
                os.kill(daemon.record()["dnsmasq"], signal.SIGKILL)
                pid = daemon.record()["dnsmasq"]
                daemon.notice("dnsmasq", "started again")
                wait_for(lambda p=pid: daemon.show()["state"] == "ready" and
                         daemon.record()["dnsmasq"] != p, "another dnsmasq")
                guest.does("ip", "addr", "flush", "dev", "eth0")
                guest.lease(place)
            # So is the table of the packet filter.
            host.does("nft", "flush", "ruleset")
            wait_for(lambda: "masquerade" in host.does("nft", "list", "ruleset"), "the rules")
            expect(reaches(guest, "10.9.0.1") == "10.9.0.2", "with new rules")
        # As long as somebody else is on the bridge, it stays.
        close_all(fds)
        daemon.end()
        expect(host.does("ip", "-br", "link", "show", "bulkhead0"), "the bridge stays")
        expect("masquerade" in host.does("nft", "list", "ruleset"), "and its rules")
        daemon = Daemon(host, place)
        daemon.adopt()
        guest.leave()
        daemon.end()
        expect_as_before(host, before)


@test
def what_was_broken_meanwhile_is_repaired(place):
    with world() as (host, outside):
        before = picture(host)
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        daemon.kill()
        os.kill(daemon.record()["dnsmasq"], signal.SIGKILL)
        host.script("nft delete table inet bulkhead0\nip link set bulkhead0 down\n"
                    "ip addr flush dev bulkhead0\necho 0 >/proc/sys/net/ipv4/ip_forward")
        daemon = Daemon(host, place)
        daemon.adopt()
        rules_come(host)
        guest = Guest(host, "bulkhead0")
        expect(guest.lease(place)[1] == "10.213.0.1", "the same subnet")
        wait_for(lambda: forwarding_of(host, "outside0") == "1", "the way out")
        with greeter(outside):
            expect(reaches(guest, "10.9.0.1") == "10.9.0.2", "the outside")
        guest.leave()
        if fds:  # a VM is on it: the bridge is made anew, and the VM's tap comes onto that
            host.does("ip", "link", "del", "bulkhead0")
            wait_for(lambda: "bhtap0" in host.does("bridge", "link"), "the tap on a bridge")
            wait_for(lambda: daemon.show()["state"] == "ready", "the switch")
        close_all(fds)
        daemon.end()
        expect_as_before(host, before)


@test
def a_daemon_may_be_killed_at_any_moment(place):
    with world() as (host, _):
        before = picture(host)
        for turn in range(12):
            daemon = Daemon(host, place)
            daemon.send("open", switch="default", queues=1, vm=VM)
            time.sleep(random.Random(turn).random() / 50)
            daemon.kill()
        daemon = Daemon(host, place)
        daemon.adopt()
        close_all(switch_port(host, daemon))
        daemon.end()
        expect_as_before(host, before)
        expect(not list(dnsmasqs(host)), "no dnsmasq stays")


@test
def a_subnet_of_others_is_left_to_them(place):
    with world() as (host, _):
        host.script("ip route add 10.213.0.0/23 via 10.9.0.1\n"
                    "ip link add quiet0 type bridge\nip addr add 10.213.2.200/25 dev quiet0\n"
                    "ip route add 10.213.3.128/26 via 10.9.0.1 table 77")
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        expect(daemon.show()["subnet"] == "10.213.4.0/24", daemon.show())
        close_all(fds)
        daemon.end()
        # Remembered, though the first is free by now.
        host.does("ip", "route", "del", "10.213.0.0/23")
        daemon = Daemon(host, place)
        close_all(switch_port(host, daemon))
        expect(daemon.show()["subnet"] == "10.213.4.0/24", daemon.show())
        daemon.end()
        # Unless somebody has it; a broken memory is none.
        host.does("ip", "route", "add", "10.0.0.0/8", "via", "10.9.0.1")
        with open(os.path.join(place.path, "state/switches/default.json"), "a",
                  encoding="utf-8") as file:
            file.write("torn")
        daemon = Daemon(host, place)
        close_all(switch_port(host, daemon))
        expect(daemon.show()["subnet"] == "172.30.0.0/24", daemon.show())
        daemon.end()
        host.script("ip route add 172.16.0.0/12 via 10.9.0.1\n"
                    "ip route add 192.168.0.0/16 via 10.9.0.1")
        before = picture(host)
        daemon = Daemon(host, place)
        daemon.refuses("leave no subnet", "10.213.0.0/24")
        expect_as_before(host, before)
        daemon.end()


@test
def names_of_others_are_left_to_them(place):
    with world() as (host, _):
        host.script("ip link add bulkhead0 type bridge\nip link add bulkhead1 type veth\n"
                    "ip link set bulkhead0 up alias 'bulkhead:default:of somebody else'\n"
                    "nft add table inet bulkhead2\nnft add chain inet bulkhead2 theirs")
        before = picture(host)
        daemon = Daemon(host, place)
        daemon.adopt()
        answer = daemon.ask("open", switch="default", queues=1, vm=VM)
        expect(daemon.show()["bridge"] == "bulkhead2", daemon.show())
        daemon.notice("inet bulkhead2", "not Bulkhead's", "rename")
        expect(daemon.show()["state"] == "faulty", daemon.show())
        expect(forwarding_of(host, "outside0") == "0", "without rules nothing is forwarded")
        expect("chain theirs" in host.does("nft", "list", "ruleset"), answer)
        close_all(daemon.fds)
        daemon.end()
        expect_as_before(host, before)


@test
def two_daemons_have_two_switches(place):
    with world() as (host, _):
        before = picture(host)
        daemons = []
        for name in ("one", "two"):
            below = type(place)(os.path.join(place.path, name))
            os.mkdir(below.path)
            daemon = Daemon(host, below)
            daemons.append((daemon, switch_port(host, daemon)))
        shown = [daemon.show() for daemon, _ in daemons]
        expect([(s["bridge"], s["subnet"], s["state"]) for s in shown] ==
               [("bulkhead0", "10.213.0.0/24", "ready"), ("bulkhead1", "10.213.1.0/24", "ready")],
               shown)
        for daemon, fds in daemons:
            close_all(fds)
            daemon.end()
        expect_as_before(host, before)


@test
def what_the_dead_left_is_taken_away(place):
    """Of daemons with other state directories, where nobody is on it and nobody else can come back
    to it unawares."""
    with world() as (host, _):
        before = picture(host)
        daemons = {}
        for name in ("dead", "alive", "used", "own"):
            below = type(place)(os.path.join(place.path, name))
            os.mkdir(below.path)
            daemons[name] = Daemon(host, below)
        taps = {name: switch_port(host, daemons[name]) for name in ("dead", "alive", "used")}
        left = daemons["dead"].show()["bridge"]
        host.script("ip link add port type veth peer name port1\n"
                    f"ip link set port master {daemons['used'].show()['bridge']}")
        for name in ("dead", "used"):
            daemons[name].kill()
        for fds in taps.values():
            close_all(fds)
        wait_for(lambda: "bhtap" not in host.does("ip", "link"), "the taps to go")
        # What only looks like a mark is none.
        host.script("ip link add theirs type bridge\nip link set theirs alias "
                    "'bulkhead:default:000000000000000g'")
        own = switch_port(host, daemons["own"])
        links = host.does("ip", "link")
        expect(all(word in links for word in ("theirs", "bulkhead1", "bulkhead2")), links)
        expect(daemons["own"].show()["bridge"] == left, "its name is free")
        expect(len(list(dnsmasqs(host))) == 3, "one dnsmasq each")
        expect(not os.path.exists(os.path.join(daemons["dead"].runtime, "switch")), "its files")
        host.does("ip", "link", "del", "port")
        for name, fds in (("own", own), ("alive", ())):
            close_all(fds)
            daemons[name].end()
        again = Daemon(host, type(place)(os.path.join(place.path, "own")))
        fds = switch_port(host, again)
        close_all(fds)
        again.end()
        host.does("ip", "link", "del", "theirs")
        expect_as_before(host, before)


def pretender(host, place, folder, *prefix):
    """What says that it is the dnsmasq of bulkhead0, with its leases in that directory."""
    program = place.file("dnsmasq", b"#!/bin/sh\nread word\n")
    os.chmod(program, 0o755)
    process = host.start(*prefix, program, "--interface=bulkhead0", "--domain=bulkhead",
                         f"--dhcp-leasefile={folder}/default.leases", stdin=subprocess.PIPE)
    wait_for(lambda: process.pid in dnsmasqs(host), "the pretender")
    return process


@test
def who_says_that_it_is_a_dnsmasq_is_not_believed(place):
    """It has the daemon wait for nothing, remove nothing and turn nothing off; and what there is to
    remove is found all the same."""
    with world() as (host, _):
        os.chmod(place.path, 0o755)
        pipes, everyones = os.path.join(place.path, "pipes"), os.path.join(place.path, "everyones")
        for folder, mode in ((pipes, 0o700), (everyones, 0o777)):
            os.mkdir(folder)
            os.chmod(folder, mode)
        os.mkfifo(os.path.join(pipes, "default.json"))
        pretenders = [pretender(host, place, folder) for folder in (pipes, everyones)]
        stranger = None
        if not os.geteuid():
            stranger = pretender(host, place, pipes, "setpriv", "--reuid=65529", "--clear-groups")
        daemons = {}
        for name in ("dead", "own"):
            below = type(place)(os.path.join(place.path, name))
            os.mkdir(below.path)
            daemons[name] = Daemon(host, below)
        fds = switch_port(host, daemons["dead"])
        record = daemons["dead"].record()
        daemons["dead"].kill()
        close_all(fds)
        wait_for(lambda: "bhtap" not in host.does("ip", "link"), "the taps to go")
        host.script("ip link add theirs type bridge\n"
                    "echo 1 >/proc/sys/net/ipv4/conf/theirs/forwarding")
        with open(os.path.join(everyones, "default.json"), "w", encoding="utf-8") as file:
            json.dump({**record, "guarded": ["theirs"]}, file)
        fds = switch_port(host, daemons["own"])
        expect(os.listdir(everyones) == ["default.json"], "a file of others")
        expect(forwarding_of(host, "theirs") == "1", "an interface of others")
        expect(not os.path.exists(os.path.join(daemons["dead"].runtime, "switch")), "its files")
        expect(daemons["own"].show()["bridge"] == "bulkhead0", "its name is free")
        if stranger:
            expect(stranger.poll() is None, "a process of others")
            pretenders.append(stranger)
        for process in pretenders:
            process.kill()
            process.wait(PATIENCE)
            process.stdin.close()
        close_all(fds)
        daemons["own"].end()


@test
def the_dead_are_taken_away_a_few_at_a_time(place):
    """So that the daemon does not wait for long."""
    with world() as (host, _):
        host.script("for number in 1 2 3; do\nip link add gone$number type bridge\n"
                    "ip link set gone$number alias bulkhead:default:000000000000000$number\ndone")
        for left in (1, 0):
            daemon = Daemon(host, place)
            close_all(switch_port(host, daemon))
            links = host.does("ip", "-br", "link")
            expect(links.count("gone") == left, links)
            daemon.end()


@test
def many_names_of_others_leave_one(place):
    with world() as (host, _):
        host.script("for number in 0 1 2 3 4 5 6 7 8 9 10; do\n"
                    "ip link add bulkhead$number type bridge\ndone")
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        expect(daemon.show()["bridge"] == "bulkhead11", daemon.show())
        close_all(fds)
        daemon.end()


@test
def firewalls_that_drop_are_named(place):
    with world() as (host, _):
        host.script("nft add table ip filter\nnft add chain ip filter FORWARD "
                    "'{ type filter hook forward priority 0; policy drop; }'")
        before = host.does("nft", "list", "ruleset")
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        daemon.notice("table ip filter", "chain FORWARD", "bulkhead0")
        close_all(fds)
        daemon.end()
        expect(host.does("nft", "list", "ruleset") == before, "their rules stay")
        host.does("nft", "add", "rule", "ip", "filter", "FORWARD", "iifname", "bulkhead0", "accept")
        host.does("nft", "add", "table", "inet", "firewalld")
        daemon = Daemon(host, place)
        fds = switch_port(host, daemon)
        daemon.notice("firewall-cmd --zone=trusted --add-interface=bulkhead0")
        close_all(fds)
        daemon.end()


@test
def a_name_server_of_the_hosts_is_named(place):
    with world() as (host, _):
        code = ("import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                "s.bind(('', 53)); print(flush=True); time.sleep(600)")
        with serving(host, sys.executable, "-c", code) as server:
            expect(server.stdout.readline() == b"\n", "it serves")
            daemon = Daemon(host, place)
            fds = switch_port(host, daemon)
            daemon.notice("dnsmasq", "in use", "other name server")
            expect(daemon.show()["state"] == "faulty", daemon.show())
        wait_for(lambda: daemon.show()["state"] == "ready", "dnsmasq")
        close_all(fds)
        daemon.end()


@test
def what_is_missing_is_named(place):
    with world() as (host, _):
        before = picture(host)
        daemon = Daemon(host, place, PATH=place.path)
        daemon.refuses("dnsmasq", "install the package dnsmasq-base")
        expect_as_before(host, before)
        expect(daemon.show()["state"] == "absent", daemon.show())
        daemon.end()
        daemon = Daemon(host, place, BULKHEAD_NAT=place.path + "/none")
        daemon.refuses("BULKHEAD_NAT")
        expect_as_before(host, before)
        daemon.end()
        daemon = Daemon(host, place, prefix=["setpriv", "--bounding-set", "-net_admin",
                                             "--inh-caps", "-net_admin"])
        daemon.refuses("CAP_NET_ADMIN", '"user"')
        expect(daemon.ask("show")["default_nic"] == "user", "the NIC of those without rights")
        daemon.adopt()
        daemon.end()
        with open(os.path.join(place.path, "run/switch"), "w", encoding="utf-8"):
            pass
        daemon = Daemon(host, place)
        daemon.refuses("run/switch/default.json")
        expect_as_before(host, before)
        expect(daemon.ask("show")["default_nic"] == "switch", "the NIC of those with rights")
        daemon.end()


@contextlib.contextmanager
def vmms(place, prefix):
    """The management daemon itself, which ends in order."""
    path = os.path.join(place.path, "vmms.sock")
    place.environment["BULKHEAD_SOCKET"] = path
    process = subprocess.Popen([*prefix, VMMS, "--socket", path, "--state", place.path + "/state"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               env=dict(os.environ, PATH=TOOLS))
    try:
        wait_for(lambda: place.run("vm", "list").returncode == 0, "the daemon")
        yield process
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


def create(place, name, *options):
    place.does("vm", "create", name, "--kernel", payload("idle"), "--memory", "64M", *options)
    return place.reply("vm", "show", name)["vm"]["settings"].get("nics", [])


@test
def a_vm_has_network_without_being_told(place):
    with contextlib.ExitStack() as stack:
        host = None if os.geteuid() else stack.enter_context(world())[0]
        prefix = host.enter() if host else []
        with vmms(place, prefix) as daemon:
            expect(not create(place, "none", "--no-nic"), "no NIC")
            nics = create(place, "one")
            expect(len(nics) == 1 and nics[0]["kind"] == ("switch" if host else "user"), nics)
            if not host:
                return
            before = picture(host)
            place.does("vm", "start", "one")
            rules_come(host)
            expect("bhtap0" in host.does("bridge", "link"), "its tap is on the bridge")
            expect(" nic " + nics[0]["name"] in host.does("ip", "link", "show", "bhtap0"), "marked")
            daemon.kill()
            daemon.wait()
        with vmms(place, prefix):
            expect("bhtap0" in host.does("bridge", "link"), "the VM keeps its network")
            place.does("vm", "stop", "one", "--turn-off")
        expect_as_before(host, before)


if __name__ == "__main__":
    sys.exit(main())
