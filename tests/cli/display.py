#!/usr/bin/env python3
"""A VM's screen as the command line has it, without a guest that draws; TAP on standard output.

    display.py BULKHEAD PAYLOADS SCREEN		SCREEN: tests/lab/screen, a VNC client
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading

from harness import PATIENCE, Vm, expect, expect_failure, listen, main, payload, test, wait_for

SCREEN = sys.argv[3]
BREAK = 2 << 16  # of a stroke's bits


def screen(*arguments):
    return subprocess.run([sys.executable, SCREEN, *arguments], capture_output=True, text=True,
                          timeout=PATIENCE, check=True).stdout


def vnc_of(vm):
    """The process id of its bulkhead-vnc."""
    for pid in vm.helpers():
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            if file.read() == "bulkhead-vnc\n":
                return pid
    return None


@test
def options_are_checked(place):
    for value in ("", "1024", "1024x", "x768", "1024x768x", "319x200", "2561x1600", "10 24x768"):
        expect_failure(place.run("run", "--kernel", "k", "--video", value), 2, "--video",
                       "like 1024x768")
    for value in ("", "unix:", "5901", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:5901"):
        expect_failure(place.run("run", "--kernel", "k", "--vnc", value), 2, "--vnc", "unix:PATH")
    for value in ("0.0.0.0:5901", "192.0.2.1:5901"):
        expect_failure(place.run("run", "--kernel", "k", "--vnc", value), 2, "ssh -L")


@test
def keys_are_checked(place):
    for words in (["vm"], [], ["vm", "--text", ""]):
        expect_failure(place.run("send-key", *words), 2, "NAME", "KEYS")
    for word in ("foo", "ctrl-foo", "x-\u00e4", "a-b-c-d-e-f-g-h-i", ""):
        expect_failure(place.run("send-key", "vm", word), 2, "send-key")
    expect_failure(place.run("send-key", "vm", "--text", "h\u00e4"), 2, "--text")
    expect_failure(place.run("screenshot", "vm"), 2, "FILE", "--text")
    expect_failure(place.run("screenshot", "vm", "--text", "file"), 2, "--text")
    expect_failure(place.run("send-key", "vm", "ctrl-alt-delete"), 5, "no VM called vm")
    expect_failure(place.run("screenshot", "vm"), 2, "FILE")
    expect_failure(place.run("screenshot", "vm", "a", "b"), 2, "\"b\"")
    expect("kpenter" in place.does("help", "send-key"), "no list of keys")


@test
def vms_without_a_screen_say_so(place):
    with Vm(place):
        file = os.path.join(place.path, "none.png")
        expect_failure(place.run("screenshot", "vm", file), 1, "--video")
        expect_failure(place.run("send-key", "vm", "a"), 1, "--video")
        expect(not os.path.exists(file), "there is a file")
        told = place.run("screenshot", "vm", file, "--json")
        expect(told.returncode == 1 and json.loads(told.stdout)["reason"] == "failed", told)


@test
def nothing_is_shown_and_nobody_types(place):
    with Vm(place, "--video", "800x600") as vm:
        file = os.path.join(place.path, "none.png")
        expect_failure(place.run("screenshot", "vm", file), 1, "driver")
        expect_failure(place.run("send-key", "vm", "a"), 1, "driver")
        expect(vnc_of(vm) is None, "bulkhead-vnc runs")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(place.socket("vm"))
            for strokes, word in (([-1], "stroke 0 is no make code"), ([1, 1 << 40], "stroke 1 is"),
                                  ([0], "stroke 0"), ([1, 2, 0x80], "stroke 2"),
                                  ([0x1001e], "stroke 0"), ([1] * 1024, "driver"),
                                  ([1] * 1025, "give at most 1024 strokes at a time")):
                client.sendall(json.dumps({"method": "io.bulkhead.VM.TypeKeys",
                                           "parameters": {"strokes": strokes}}).encode() + b"\0")
                answer = client.recv(4096)
                expect(b"io.bulkhead.VM.Refused" in answer and word.encode() in answer, answer)


def refuse_some(listener, heard, parts=None):
    """A VM that takes a part of the keys only when it is asked for the third time, and no more parts."""
    asked = 0
    while True:
        client = listener.accept()[0]
        with client:
            words = b""
            while not words.endswith(b"\0"):
                words += client.recv(65536)
            strokes = json.loads(words[:-1])["parameters"]["strokes"]
            if not strokes[0]:
                return
            asked += 1
            if heard and asked % 3:
                client.sendall(b'{"parameters": {"typed": 0}}\0')
                continue
            if len(heard) == parts:
                client.sendall(b'{"error": "io.bulkhead.VM.Refused", '
                               b'"parameters": {"message": "no driver"}}\0')
                continue
            heard.append(strokes)
            client.sendall(b'{"parameters": {"typed": %d}}\0' % len(strokes))


@test
def long_texts_are_typed_in_parts(place):
    heard, text = [], "Hello, world! " * 200
    os.makedirs(os.path.dirname(place.socket("vm")), exist_ok=True)
    with listen(place.socket("vm")) as listener:
        guest = threading.Thread(target=refuse_some, args=(listener, heard), daemon=True)
        guest.start()
        place.does("send-key", "vm", "--text", text)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(place.socket("vm"))
            client.sendall(b'{"parameters": {"strokes": [0]}}\0')
        guest.join(PATIENCE)
    expect(len(heard) > 5 and max(map(len, heard)) <= 1024, list(map(len, heard)))
    # Nothing is held between parts, and nothing lost: each 'l' is a press and a release.
    for strokes in heard:
        down = [stroke for stroke in strokes if not stroke & BREAK]
        expect(len(down) * 2 == len(strokes) and not strokes[0] & BREAK, strokes)
    expect(sum(strokes.count(0x26) for strokes in heard) == text.count("l"), "letters")


@test
def a_guest_that_takes_no_more_keys_is_told_of(place):
    heard = []
    os.makedirs(os.path.dirname(place.socket("vm")), exist_ok=True)
    with listen(place.socket("vm")) as listener:
        guest = threading.Thread(target=refuse_some, args=(listener, heard, 2), daemon=True)
        guest.start()
        result = place.run("send-key", "vm", "--text", "x" * 2000)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(place.socket("vm"))
            client.sendall(b'{"parameters": {"strokes": [0]}}\0')
        guest.join(PATIENCE)
    expect_failure(result, 1, "no driver", f"{sum(map(len, heard))} of 4000 strokes were typed")


@test
def vnc_is_served(place):
    path = os.path.join(place.path, "vnc")
    with Vm(place, "--vnc", "unix:" + path) as vm:
        expect(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "the socket's mode")
        expect(screen(path, "size", "key", "a", "pointer", "639,479,255") == "640x480\n", "the size")
        # One looks on; seven more may, and when they go others come.
        for _ in range(2):
            expect(screen(path, "clients", "9") == "7\n", "clients")
        for noise in (b"GET / HTTP/1.0\r\n\r\n", b"RFB 003.008\n\1\1" + bytes(range(256)), b"\0" * 4096):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(noise)
        expect(screen(path, "size") == "640x480\n", "after noise")
        expect(vnc_of(vm), "bulkhead-vnc has ended")
    expect(not os.path.exists(path), "the socket stayed")


@test
def vnc_is_confined(place):
    with Vm(place, "--vnc", "unix:" + os.path.join(place.path, "vnc")) as vm:
        screen(os.path.join(place.path, "vnc"), "size")  # it is at work by then
        with open(f"/proc/{vnc_of(vm)}/status") as file:
            status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        expect(int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0, status)
        expect(status["Seccomp"].strip() == "2" and status["NoNewPrivs"].strip() == "1", status)


@test
def vnc_may_end(place):
    path = os.path.join(place.path, "vnc")
    with Vm(place, "--vnc", "unix:" + path) as vm:
        screen(path, "size")
        os.kill(vnc_of(vm), signal.SIGKILL)
        wait_for(lambda: "bulkhead-vnc has ended" in vm.said(), "a word")
        place.does("inspect", "vm")


@test
def vnc_paths_are_checked(place):
    taken, plain = os.path.join(place.path, "taken"), place.file("plain", b"")
    kernel = payload("idle")
    with listen(taken), socket.create_server(("127.0.0.1", 0)) as tcp:
        port = tcp.getsockname()[1]
        for where, word in (("unix:" + plain, "no socket"), ("unix:" + taken, "somebody listens"),
                            (f"unix:{place.path}/none/at/all", "No such file"),
                            (f"127.0.0.1:{port}", "in use")):
            expect_failure(place.run("run", "--kernel", kernel, "--vnc", where), 1, "--vnc", word)


sys.exit(main())
