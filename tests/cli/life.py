#!/usr/bin/env python3
"""A VM's life: its end, its exit code, its control socket; TAP on standard output.

    life.py BULKHEAD PAYLOADS
"""

import contextlib
import json
import os
import signal
import socket
import stat
import sys

from harness import PATIENCE, Vm, call, expect, expect_failure, main, payload, test, wait_for


@test
def the_guest_decides_the_exit_code(place):
    result = place.run("run", "--kernel", payload("smoke"), "--debug-exit", "--json")
    expect(result.returncode == 0, f"exit {result.returncode}: {result.stderr}")
    *tap, last = result.stdout.splitlines()
    expect(any(line.startswith("1..") for line in tap), "the payload's output")
    outcome = json.loads(last)
    expect(outcome["reason"] == "debug-exit" and outcome["exit"] == 0, outcome)


@test
def json_has_a_line_of_its_own(place):
    result = place.run("run", "--kernel", payload("exit"), "--debug-exit", "--json")
    last = result.stdout.splitlines()[-1]
    expect(not result.stdout.startswith("{"), f"the payload's unfinished line: {result.stdout}")
    expect(json.loads(last)["reason"] == "debug-exit", result.stdout)
    result = place.run("run", "--kernel", payload("finish"), "--append", "crash", "--debug-exit",
                       "--json")
    outcome = json.loads(result.stdout.splitlines()[-1])
    expect(outcome["exit"] == result.returncode == 4 and outcome["reason"] == "crash", outcome)
    expect(outcome["crash"].startswith("P0 0xdead P1 0x0 ") and
           outcome["crash"].endswith("\na payload's last words"), outcome)


@test
def a_running_vm_answers(place):
    with Vm(place) as vm:
        expect(stat.S_IMODE(os.stat(place.socket("vm")).st_mode) == 0o600, "the socket's mode")
        expect_failure(place.run("run", "--name", "vm", "--kernel", payload("idle")), 1, "vm")
        place.does("pause", "vm")
        expect_failure(place.run("pause", "vm"), 1, "paused")
        tree = vm.tree()
        expect(tree["state"] == "paused" and tree["sandbox"]["seccomp"] == "yes", tree)
        expect("devices" in tree and "vmbus" in tree, tree.keys())
        steps = [node["state"] for name, node in tree["lifecycle"].items() if "step@" in name]
        expect(steps == ["running", "paused"], tree["lifecycle"])
        vp = next(node["vp@0"] for name, node in tree.items()
                  if name != "exits" and isinstance(node, dict) and "vp@0" in node)
        expect(vp["mp-state"] in (0, 3), vp["mp-state"])  # RUNNABLE or HALTED
        expect(tree["devices"]["uart"]["input"] == "", tree["devices"]["uart"])
        place.does("resume", "vm")
        expect_failure(place.run("resume", "vm"), 1, "running")
        info = call(place.socket("vm"), "org.varlink.service.GetInfo")["parameters"]
        expect("io.bulkhead.VM" in info["interfaces"], info)
        expect(call(place.socket("vm"), "io.bulkhead.VM.Nothing")["error"], "an error")
    expect(not os.path.exists(place.socket("vm")), "the socket stayed")


@test
def memory_has_limits(place):
    with (Vm(place, "--memory", "64M", name="static"),
          Vm(place, "--memory", "startup=64M,min=32M,max=1G,buffer=30,weight=7", name="moving")):
        shown = place.reply("memory", "show", "static")
        expect(shown["state"] == "static" and shown["assigned"] == 64 << 20, shown)
        expect_failure(place.run("memory", "set", "static", "--target", "32M"), 1, "static",
                       "--memory")
        shown = place.reply("memory", "show", "moving")
        expect([shown[key] for key in ("minimum", "startup", "maximum", "buffer", "weight")] ==
               [32 << 20, 64 << 20, 1 << 30, 30, 7] and shown["automatic"], shown)
        expect_failure(place.run("memory", "set", "moving", "--target", "16M"), 1, "32M to 1024M")
        expect_failure(place.run("memory", "set", "moving", "--target", "2G"), 1, "32M to 1024M")
        told = place.does("memory", "set", "moving", "--target", "512M", "--weight", "9")
        expect("512 MiB, set" in told and "no driver" in told, told)
        told = place.does("memory", "set", "moving", "--auto")
        expect("512 MiB, automatic" in told, told)


@test
def a_killed_worker_is_told(place):
    with Vm(place) as vm:
        os.kill(vm.worker(), signal.SIGKILL)
        expect(vm.wait() == 1 and "signal 9" in vm.said(), vm.said())
        expect(not os.path.exists(place.socket("vm")), "the socket stayed")


@test
def a_worker_that_does_not_stop_is_killed(place):
    with Vm(place) as vm:
        os.kill(vm.worker(), signal.SIGSTOP)
        vm.signal(signal.SIGINT)
        code = vm.wait()
        expect(code == 130, f"exit {code}: {vm.said()}")
        expect("did not stop within 10 s and was killed" in vm.said(), vm.said())


@test
def a_signal_sent_twice_is_one(place):
    # As timeout(1) does it: to the process, then to its group.
    with Vm(place) as vm:
        worker = vm.worker()
        os.kill(worker, signal.SIGSTOP)
        vm.signal(signal.SIGTERM)
        vm.signal(signal.SIGINT)
        for _ in range(2):  # once answered, the loop has seen the signals
            call(place.socket("vm"), "org.varlink.service.GetInfo")
        os.kill(worker, signal.SIGCONT)
        code = vm.wait()
        expect(code in (130, 143) and not vm.said(), f"exit {code}: {vm.said()}")


@test
def kill_ends_a_worker_that_does_not_stop(place):
    for calls, words in ((1, "did not stop within 10 s and was killed"), (2, "as asked")):
        with Vm(place) as vm, contextlib.ExitStack() as stack:
            os.kill(vm.worker(), signal.SIGSTOP)
            clients = []
            for _ in range(calls):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.settimeout(PATIENCE)
                client.connect(place.socket("vm"))
                client.sendall(b'{"method": "io.bulkhead.VM.Kill"}\0')
                clients.append(client)
            expect(vm.wait() == 1 and words in vm.said(), vm.said())
            for client in clients:
                expect(client.recv(4096) == b'{"parameters":{}}\0', "no answer")


@test
def a_killed_supervisor_takes_its_worker_along(place):
    with Vm(place) as vm:
        worker = vm.worker()
        vm.signal(signal.SIGKILL)
        vm.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{worker}/exe") or
             "State:\tZ" in open(f"/proc/{worker}/status", encoding="utf-8").read(),
             "the worker's end")
    expect(os.path.exists(place.socket("vm")), "a stale socket")
    with Vm(place, name="other"):
        sockets = os.listdir(os.path.join(place.path, "bulkhead"))
        expect(sockets == ["other.sock"], "the stale socket")
    with Vm(place):
        pass


sys.exit(main())
