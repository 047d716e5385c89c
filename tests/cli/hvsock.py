#!/usr/bin/env python3
"""A VM's hv_sock front; TAP on standard output.

    hvsock.py BULKHEAD PAYLOADS
"""

import os
import socket
import stat
import sys
import time

from harness import PATIENCE, Vm, expect, expect_failure, listen, main, need_kvm, test


@test
def hvsock_paths_are_checked(place):
    kernel = ["--kernel", place.file("kernel")]
    for value in ("", "foo", "unix:", "unix", "path"):
        expect_failure(place.run("run", *kernel, "--hvsock", value), 2, "--hvsock", "unix:PATH")
    need_kvm()
    plain = place.file("plain")
    taken = os.path.join(place.path, "taken")
    with listen(taken):
        for path, word in ((plain, "no socket"), (taken, "somebody listens"),
                           (place.path + "/none/at/all", "No such file")):
            result = place.run("run", *kernel, "--hvsock", "unix:" + path)
            expect_failure(result, 1, f"--hvsock unix:{path}", word)


def ask_hvsock(path, *parts):
    """What the front says to a client that sends the parts; b"" if it hangs up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(path)
        try:
            for part in parts:
                client.sendall(part)
                time.sleep(0.01)
            return client.recv(100)
        except (BrokenPipeError, ConnectionResetError):
            return b""


@test
def hvsock_clients_that_say_nonsense_are_let_go(place):
    path = os.path.join(place.path, "hvsock")
    with Vm(place, "--hvsock", "unix:" + path) as vm:
        expect(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "the socket's mode")
        for line in (b"\n", b"CONNECT\n", b"CONNECT x\n", b"CONNECT -1\n", b"CONNECT 1 2\n",
                     b"CONNECT 4294967295\n", b"CONNECT 99999999999999999999999\n", b"GET 1\n",
                     b"CONNECT 1\0\n", b"x" * 1000, b"CONNECT 1" + b" " * 1000 + b"\n"):
            expect(ask_hvsock(path, line) == b"", line)
        # A line that is right, in pieces too; but this guest has no hv_sock.
        expect(ask_hvsock(path, b"CONNECT 1\n") == b"", "a connection to nobody")
        expect(ask_hvsock(path, b"con", b"nect 1", b"\r\n") == b"", "a line in pieces")
        for _ in range(100):
            socket.socket(socket.AF_UNIX).connect(path)  # and gone
        # Those who say nothing are waited for, but not without end, and hold up nothing else.
        silent = [socket.socket(socket.AF_UNIX) for _ in range(70)]
        for client in silent:
            client.connect(path)
        place.does("inspect", "vm")
        expect(ask_hvsock(path, b"CONNECT 1\n") == b"", "one after the silent")
        figures = vm.tree()["devices"]["hvsock"]["figures"]
        expect(figures["connections"] == 0 and figures["opened"] == 0, figures)
    expect(not os.path.exists(path), "the socket stayed")


sys.exit(main())
