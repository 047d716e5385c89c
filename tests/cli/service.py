#!/usr/bin/env python3
"""The daemon and a service manager: the socket that it is started with, readiness, the watchdog.

The test is the manager, as sd_listen_fds(3) and sd_notify(3) describe one.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from harness import PATIENCE, call, expect, main, test

VMMS, SOURCE = sys.argv[3:5]


class Managed:
    """A daemon that was started with a listening socket and a place to tell how it is."""

    def __init__(self, place, sockets=1, environment=None):
        self.path = os.path.join(place.path, "vmms.sock")
        self.state = os.path.join(place.path, "state")
        self.news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.news.settimeout(PATIENCE)
        self.news.bind(os.path.join(place.path, "notify"))
        self.listeners = []
        for number in range(sockets):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path + "x" * number)
            listener.listen()
            self.listeners.append(listener)
        self.environment = {**os.environ, "NOTIFY_SOCKET": self.news.getsockname(),
                            **(environment or {})}
        self.process = None

    def start(self):
        """The child finds its sockets from 3 on, and its own process id in LISTEN_PID."""
        fds = [os.dup(listener.fileno()) for listener in self.listeners]
        moves = " ".join(f"{3 + number}<&{fd}" for number, fd in enumerate(fds))
        shell = f'export LISTEN_PID=$$ LISTEN_FDS={len(fds)}; exec "$@" {moves}'
        self.process = subprocess.Popen(
            ["sh", "-c", shell, "sh", VMMS, "--socket", self.path, "--state", self.state],
            env=self.environment, stderr=subprocess.PIPE, text=True, pass_fds=fds)
        for fd in fds:
            os.close(fd)
        return self

    def hears(self, word):
        """Reads news until one line is the word."""
        while word not in self.news.recv(4096).decode().split("\n"):
            pass

    def end(self):
        self.process.terminate()
        errors = self.process.communicate(timeout=PATIENCE)[1]
        expect(self.process.returncode == 0, self.process.returncode, errors)


@test
def a_daemon_serves_the_socket_that_it_was_started_with(place):
    daemon = Managed(place)
    # A client that calls before the daemon runs waits in the socket's queue.
    early = socket.socket(socket.AF_UNIX)
    early.settimeout(PATIENCE)
    early.connect(daemon.path)
    early.sendall(b'{"method": "io.bulkhead.VMMS.ShowHost"}\0')
    inode = os.stat(daemon.path).st_ino
    daemon.start()
    daemon.hears("READY=1")
    expect(b'"api"' in early.recv(65536), "no answer for who came before the daemon")
    early.close()
    daemon.end()
    daemon.hears("STOPPING=1")
    expect(os.stat(daemon.path).st_ino == inode, "the socket is not the daemon's to remove")
    # The next one serves it, too.
    daemon.start()
    daemon.hears("READY=1")
    expect("parameters" in call(daemon.path, "io.bulkhead.VMMS.ShowHost"), "no answer")
    daemon.end()


@test
def the_watchdog_hears_of_a_loop_that_turns(place):
    daemon = Managed(place, environment={"WATCHDOG_USEC": "200000"}).start()
    daemon.hears("READY=1")
    for _ in range(3):
        daemon.hears("WATCHDOG=1")
    daemon.end()


@test
def without_a_watchdog_nobody_is_told(place):
    daemon = Managed(place).start()
    daemon.hears("READY=1")
    call(daemon.path, "io.bulkhead.VMMS.ShowHost")
    daemon.end()
    expect(daemon.news.recv(4096) == b"STOPPING=1", "news")


@test
def sockets_that_make_no_sense_are_refused(place):
    daemon = Managed(place, sockets=2).start()
    errors = daemon.process.communicate(timeout=PATIENCE)[1]
    expect(daemon.process.returncode == 1 and errors.count("\n") == 1 and ".socket" in errors,
           errors)
    expect(not os.path.exists(os.path.join(daemon.state, "vms", "x")), "state")


@test
def what_is_installed_fits_the_program(place):
    """The words in the units are those that systemd knows; it checks them where it is there."""
    data = Path(SOURCE) / "data"
    service = (data / "bulkhead-vmms.service.in").read_text()
    for line in ("Type=notify", "KillMode=process", "WatchdogSec=30s"):
        expect(line in service.split("\n"), line)
    expect("ListenStream=/run/bulkhead/vmms.sock" in (data / "bulkhead-vmms.socket").read_text(),
           "another socket than the daemon's own")
    # The host's shutdown stops the VMs, before the daemon; a restart of that does not.
    guests = (data / "bulkhead-guests.service.in").read_text()
    expect("ExecStop=@BINDIR@/bulkhead-vmms --shutdown" in guests and
           "After=bulkhead-vmms.service" in guests and "ExecStop" not in service, guests)
    expect(not any(word in guests for word in ("Requires=", "BindsTo=", "PartOf=")), guests)
    unit = Path(place.path) / "bulkhead-vmms.service"
    unit.write_text(service.replace("@BINDIR@/bulkhead-vmms", "/bin/true"))
    shutil.copy(data / "bulkhead-vmms.socket", place.path)
    if not shutil.which("systemd-analyze"):
        return
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], text=True,
                            capture_output=True, timeout=PATIENCE, check=False)
    words = [line for line in result.stderr.split("\n") if "bulkhead" in line]
    expect(not words, result.stderr)


sys.exit(main())
