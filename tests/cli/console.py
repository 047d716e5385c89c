#!/usr/bin/env python3
"""A VM's console: terminal, file, socket and standard descriptors; TAP on standard output.

    console.py BULKHEAD PAYLOADS
"""

import fcntl
import json
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import termios

from harness import (BULKHEAD, PATIENCE, Vm, call, expect, expect_failure, main, need_kvm, payload,
                     test, wait_for)


@test
def consoles_that_cannot_be_are_named(place):
    kernel = place.file("kernel")
    need_kvm()  # it is opened before
    for kind, path, *words in (
            ("file", "/nonexistent/x", "directory", "; "),
            ("file", place.path, "directory", "; "),
            ("unix", "/nonexistent/x", "directory", "; "),
            ("unix", kernel, "no socket", "; remove"),
            ("unix", os.path.join(place.path, "x" * 200), "too long", "; ")):
        result = place.run("run", "--kernel", kernel, "--console", f"{kind}:{path}")
        expect_failure(result, 1, f"--console {kind}:", *words)


@test
def a_locked_directory_is_not_waited_for(place):
    kernel = place.file("kernel")
    need_kvm()  # it is opened before
    directory = os.open(place.path, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_SH)
    result = place.run("run", "--kernel", kernel, "--console", f"unix:{place.path}/console")
    expect_failure(result, 1, "--console unix:", "locked", "; choose")
    os.close(directory)


@test
def closed_standard_descriptors_are_no_matter(place):
    kernel = payload("exit")
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        code = subprocess.run(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", BULKHEAD, "run",
                               "--kernel", kernel, "--debug-exit"], capture_output=True,
                              timeout=PATIENCE, env=place.environment).returncode
        expect(code == 0, f"exit {code} with {closed}")


@test
def the_console_can_be_a_file(place):
    path = os.path.join(place.path, "log")
    result = place.run("run", "--kernel", payload("smoke"), "--debug-exit", "--console",
                       "file:" + path)
    expect(result.returncode == 0 and not result.stdout, result.stdout)
    with open(path, encoding="utf-8") as file:
        expect("1.." in file.read(), "the payload's output")


@test
def the_console_is_none_of_the_other_files(place):
    payload("exit")
    kernel = place.file("kernel")
    disk = place.file("disk", b"d" * 1024)
    link = os.path.join(place.path, "link")
    os.link(disk, link)
    for flags, path, other in (([], kernel, "--kernel"),
                               (["--initrd", disk], disk, "--initrd"),
                               (["--disk", disk], disk, "--disk"),
                               (["--disk", disk], link, "--disk"),
                               (["--disk", disk + ",ro"], disk, "--disk")):
        expect_failure(place.run("run", "--kernel", kernel, *flags, "--console", "file:" + path),
                       1, "--console file:" + path, other)
    with open(disk, "rb") as file:
        expect(file.read() == b"d" * 1024, "the disk changed")


@test
def a_console_file_is_kept_until_a_guest_starts(place):
    smoke = payload("smoke")
    none = place.file("none", b"no kernel at all\n" * 100)
    old = place.file("old", b"precious\n" * 10000)
    new = os.path.join(place.path, "new")
    for path in (old, new):
        result = place.run("run", "--kernel", none, "--console", "file:" + path)
        expect(result.returncode == 1 and none in result.stderr, result.stderr)
    expect(os.path.getsize(old) == 90000, "the file was emptied")
    expect(not os.path.exists(new), "the new file stayed")
    result = place.run("run", "--kernel", smoke, "--debug-exit", "--console", "file:" + old)
    expect(result.returncode == 0, result.stderr)
    with open(old, encoding="utf-8") as file:
        text = file.read()
    expect("bulkhead payload" in text.splitlines()[0] and "1.." in text and
           "precious" not in text, text[:200])


@test
def lost_output_is_told(place):
    smoke = ("--kernel", payload("smoke"), "--debug-exit")
    result = place.run("run", *smoke, "--json", "--console", "file:/dev/full")
    expect(result.returncode == 0, result.stderr)
    expect(result.stderr.count("\n") == 1 and "--console file:/dev/full: " in result.stderr and
           " bytes could not be written: No space left on device; free some space" in
           result.stderr, result.stderr)
    lost = json.loads(result.stdout)["console_lost"]
    expect(lost > 0 and f" {lost} bytes" in result.stderr, result.stdout)
    with open("/dev/full", "wb") as full:
        result = subprocess.run([BULKHEAD, "run", *smoke], stdin=subprocess.DEVNULL, stdout=full,
                                stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                                env=place.environment)
    expect(result.returncode == 0, result.returncode)
    expect(f"--console stdio: {lost} bytes could not be written: " in result.stderr,
           result.stderr)
    result = place.run("run", *smoke, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))  # guest memory is a file, too
    expect_failure(result, 1, "memory", "File too large")
    fifo = os.path.join(place.path, "fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    vm = subprocess.Popen([BULKHEAD, "run", *smoke, "--console", "file:" + fifo],
                          env=place.environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    expect(select.select([reader], [], [], PATIENCE)[0] and os.read(reader, 1), "output")
    os.close(reader)
    _, errors = vm.communicate(timeout=PATIENCE)
    expect(vm.returncode == 0 and not errors, errors)
    result = place.run("run", *smoke, "--json", "--console", "none")
    expect(json.loads(result.stdout)["console_lost"] == 0, result.stdout)


@test
def the_console_can_be_a_socket(place):
    path = os.path.join(place.path, "console")
    with Vm(place, "--console", "unix:" + path) as vm:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
        call(place.socket("vm"), "io.bulkhead.VM.Kill")
        expect(vm.wait() == 0, "exit code")
    expect(not os.path.exists(path), "the console's socket stayed")


@test
def an_unread_standard_error_holds_up_nothing(place):
    kernel = payload("finish")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    vm = subprocess.Popen([BULKHEAD, "run", "--name", "vm", "--kernel", kernel, "--append",
                           "crash loop"], env=place.environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=writer)
    try:
        wait_for(lambda: vm.poll() is not None or "crash-reports" in place.run(
            "inspect", "vm").stdout, "an answer")
        wait_for(lambda: place.reply("inspect", "vm")["crash-reports"] > 100, "the 100th report")
        vm.send_signal(signal.SIGTERM)
        expect(vm.wait(PATIENCE) == 143, f"exit {vm.returncode}")
    finally:
        vm.kill()
        vm.wait(PATIENCE)
        os.close(reader)
        os.close(writer)


def start_in_terminal(place, script):
    """A shell with a terminal, whose $0 is the command and $1 a guest that idles."""
    kernel = payload("idle")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", script, BULKHEAD, kernel])
    wait_for(lambda: place.run("inspect", "vm").returncode == 0, "the VM")
    return pid, terminal


def read_to_the_end(pid, terminal):
    """What the shell and its children print until they end."""
    output = b""
    while select.select([terminal], [], [], PATIENCE)[0]:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        output += part
    os.waitpid(pid, 0)
    return output


@test
def ctrl_bracket_leaves_the_terminal_as_it_was(place):
    pid, terminal = start_in_terminal(place, 'stty -a; "$0" run --name vm --kernel "$1"; '
                                      'echo "exit $?"; stty -a')
    os.write(terminal, b"x\x03\x1d")
    output = read_to_the_end(pid, terminal)
    expect(b"exit 0" in output, output)
    lines = [line for line in output.replace(b"\r", b"").split(b"\n") if b"icanon" in line]
    expect(len(lines) == 2 and lines[0] == lines[1], lines)


@test
def the_terminal_is_taken_in_the_foreground_only(place):
    pid, terminal = start_in_terminal(place, 'set -m; "$0" run --name vm --kernel "$1" & '
                                      'read line; fg; echo "exit $?"')

    def is_raw():
        return not termios.tcgetattr(terminal)[3] & termios.ICANON

    expect(not is_raw(), "a background job took the terminal")
    os.write(terminal, b"\n")
    wait_for(is_raw, "the terminal's raw mode")
    os.write(terminal, b"\x1d")
    output = read_to_the_end(pid, terminal)
    expect(b"exit 0" in output, output)


sys.exit(main())
