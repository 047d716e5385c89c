#!/usr/bin/env python3
"""The figures of the daemon and its VMs; TAP on standard output.

    metrics.py BULKHEAD PAYLOADS
"""

import contextlib
import http.client as http_client
import os
import signal
import socket
import subprocess
import sys

from daemon import VMMS, Daemon
from exposition import Page
from harness import PATIENCE, expect, main, test, wait_for

STATES = {"off", "starting", "running", "paused", "stopping", "off_after_crash", "saved"}


def scrape(daemon):
    return Page(daemon.call("GetMetrics")["text"])


@test
def a_daemon_without_vms_has_figures(place):
    with Daemon(place) as daemon:
        page = scrape(daemon)
        expect(page.labels("bulkhead_vms", "state") == STATES, "not all states")
        expect(all(page.find("bulkhead_vms", state=state) == 0 for state in STATES), "a VM")
        expect(page.find("bulkhead_host_processors") >= 1, "no processors")
        expect(not any(name.startswith("bulkhead_vm_") for name in page.families), "a VM")
        # The command prints the same families.
        daemon.place.environment["BULKHEAD_SOCKET"] = daemon.socket
        expect(Page(place.does("metrics")).families.keys() == page.families.keys(), "not the same")


@test
def a_vm_has_figures_of_each_part(place):
    with Daemon(place) as daemon:
        disk = place.file("disk", b"x" * (1 << 20))
        daemon.create("off")
        daemon.create("one", processors={"count": 2},
                      disks=[{"kind": "disk", "path": disk, "name": "root", "lun": 3},
                             {"kind": "cdrom", "name": "dvd"}])
        daemon.start_vm("one")
        page = scrape(daemon)
        expect(page.find("bulkhead_vms", state="running") == 1, "it does not run")
        expect(page.find("bulkhead_vm_state", vm="off", state="off") == 1, "it is not off")
        expect(page.find("bulkhead_vm_state", vm="one", state="running") == 1, "not running")
        expect(page.labels("bulkhead_vm_up", "vm") == {"one"}, "one that is off is not up or down")
        expect(page.find("bulkhead_vm_up", vm="one") == 1, "it did not answer")
        expect(page.find("bulkhead_vm_memory_assigned_bytes", vm="one") == 16 << 20, "its memory")
        expect(page.labels("bulkhead_vm_vp_cpu_seconds_total", "vp") == {"0", "1"}, "its VPs")
        expect(page.find("bulkhead_vm_worker_exits_total", vm="one", kind="port") > 0, "no exits")
        expect(page.find("bulkhead_vm_cpu_seconds_total", vm="one") is not None, "no CPU time")
        expect(page.labels("bulkhead_vm_disk_reads_total", "disk") == {"root", "dvd"}, "its disks")
        expect(page.find("bulkhead_vm_disk_size_bytes", vm="one", disk="root") == 1 << 20, "size")
        expect(page.find("bulkhead_vm_heartbeat", vm="one", state="no_contact") == 1, "heartbeat")
        expect(page.find("bulkhead_vm_service_ready", vm="one", service="kvp") == 0, "services")
        expect(page.find("bulkhead_vm_memory_demanded_bytes", vm="one") is None, "it reports none")
        daemon.restart()
        expect(scrape(daemon).find("bulkhead_vm_up", vm="one") == 1, "not with the next daemon")
        daemon.call("PauseVM", vm="one")
        page = scrape(daemon)
        expect(page.find("bulkhead_vm_up", vm="one") == 1, "a paused one has figures")
        daemon.call("StopVM", vm="one", turn_off=True)
        expect("bulkhead_vm_up" not in scrape(daemon).families, "it is off")


@test
def a_worker_that_hangs_holds_nobody_up(place):
    with Daemon(place) as daemon:
        for name in ("one", "two"):
            daemon.create(name)
        worker = daemon.start_vm("one")["worker"]
        daemon.start_vm("two")
        scrape(daemon)  # what it tells now is old later
        os.kill(worker, signal.SIGSTOP)
        with daemon.client() as first, daemon.client() as second:
            first.send("GetMetrics")
            second.send("GetMetrics")
            expect(daemon.call("ShowHost")["running"] == 2, "others wait for metrics")
            pages = [Page(client.reply()["text"]) for client in (first, second)]
        pages.append(scrape(daemon))
        for page in pages:
            expect(page.find("bulkhead_vm_up", vm="one") == 0, "a stopped worker answered")
            expect(page.find("bulkhead_vm_up", vm="two") == 1, "the other did not")
            expect(page.find("bulkhead_vm_cpu_seconds_total", vm="one") is not None, "no CPU time")
            expect(page.labels("bulkhead_vm_exits_total", "vm") <= {"two"}, "old figures")
        os.kill(worker, signal.SIGCONT)
        expect(scrape(daemon).find("bulkhead_vm_up", vm="one") == 1, "it does not answer again")
        for name in ("one", "two"):
            daemon.call("StopVM", vm=name, turn_off=True)


@test
def a_vm_that_ends_meanwhile_ends_no_wait(place):
    with Daemon(place) as daemon:
        daemon.create("one")
        vm = daemon.start_vm("one")
        os.kill(vm["worker"], signal.SIGSTOP)
        with daemon.client() as client, daemon.client() as gone:
            gone.send("GetMetrics")
            gone.socket.close()
            client.send("GetMetrics")
            os.kill(vm["worker"], signal.SIGKILL)
            page = Page(client.reply()["text"])
            expect(page.find("bulkhead_vm_up", vm="one") in (None, 0), "it answered")
        daemon.wait("one", "off_after_crash")
        expect(scrape(daemon).find("bulkhead_vms", state="off_after_crash") == 1, "no crash")


@test
def what_a_vm_has_used_is_measured(place):
    with Daemon(place) as daemon:
        place.environment["BULKHEAD_SOCKET"] = daemon.socket
        daemon.create("one")
        expect(daemon.fails("WrongState", "MeasureVM", vm="one")["state"] == "off", "it is off")
        daemon.fails("WrongState", "ResetMeasureVM", vm="one")
        daemon.start_vm("one")
        measure = daemon.call("MeasureVM", vm="one")["measure"]
        expect(measure.keys() == {"since_start"}, "it was never reset")
        start = measure["since_start"]
        expect(start["seconds"] > 0 and start["cpu_seconds"] >= 0, start)
        for member in ("memory_average", "memory_minimum", "memory_maximum"):
            expect(start[member] == 16 << 20, start)
        expect(start["disk_reads"] == 0 and start["net_bytes_sent"] == 0, start)
        expect(place.does("vm", "measure", "one", "--reset") == "", "a reset prints something")
        daemon.restart()
        measure = place.reply("vm", "measure", "one")["measure"]
        expect(measure["since_reset"]["seconds"] < measure["since_start"]["seconds"], measure)
        expect(measure["since_reset"]["memory_maximum"] == 16 << 20, measure)
        expect(measure["reset"] > 0, measure)
        lines = place.does("vm", "measure", "one").splitlines()
        expect(len(lines) == 16 and "SINCE RESET" in lines[0], lines)
        vm = daemon.vm("one")
        note = os.path.join(daemon.run, "vms", vm["uuid"], "measure.json")
        for junk in (b"{", b"[]", b"{}", b"{\"time_us\": -1}", b" " * 10000):
            place.file(note, junk)
            expect(daemon.call("MeasureVM", vm="one")["measure"].keys() == {"since_start"}, junk)
        daemon.call("ResetMeasureVM", vm="one")
        daemon.call("StopVM", vm="one", turn_off=True)
        expect(not os.path.exists(note), "the file is left")


def http(path, request, half=False):
    """The whole answer of the metrics socket to some bytes: its status, head and body."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(path)
        client.sendall(request)
        if half:
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    expect(lines[0].startswith("HTTP/1.1 "), lines)
    fields = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), fields, body.decode()


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@test
def a_scraper_is_served(place):
    path = os.path.join(place.path, "metrics.sock")
    with Daemon(place, "--metrics", "unix:" + path) as daemon:
        daemon.create("one")
        expect(os.stat(path).st_mode & 0o777 == (0o660 if os.geteuid() == 0 else 0o600), "its mode")
        status, fields, body = http(path, GET, half=True)
        expect(status == 200 and fields["Content-Type"].startswith("text/plain; version=0.0.4"),
               fields)
        expect(int(fields["Content-Length"]) == len(body.encode()), "another length")
        expect(Page(body).find("bulkhead_vm_state", vm="one", state="off") == 1, "no VM")
        status, fields, body = http(path, GET.replace(b"GET", b"HEAD"))
        expect(status == 200 and int(fields["Content-Length"]) > 0 and body == "", body)
        expect(http(path, GET.replace(b"/metrics", b"/"))[0] == 404, "another path")
        expect(http(path, GET.replace(b"GET", b"PUT"))[0] == 405, "another method")
        daemon.end()
        expect(not os.path.exists(path), "the socket is left")


@test
def hostile_scrapers_keep_nobody_out(place):
    path = os.path.join(place.path, "metrics.sock")
    with Daemon(place, "--metrics", "unix:" + path) as daemon:
        expect(http(path, b"\0" * 100 + b"\n")[0] == 400, "it is no HTTP")
        expect(http(path, b"GET /" + b"x" * 100000)[0] == 431, "it is without end")
        expect(http(path, GET + b"y" * 100000)[0] == 200, "what follows is not looked at")
        clients = []
        for number in range(100):
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            clients.append(client)
            client.send(GET[:number % len(GET)])
            expect(number % 10 or http(path, GET)[0] == 200, "they keep others out")
        for client in clients[::2]:
            client.close()
        for _ in range(50):  # gone as soon as they have asked
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionError):
                client.connect(path)
                client.send(GET)
        wait_for(lambda: try_http(path), "an answer")
        expect(daemon.call("ShowHost")["vms"] == 0, "the daemon is gone")
        for client in clients:
            client.close()


def try_http(path):
    try:
        return http(path, GET)[0] == 200
    except (ConnectionError, AssertionError):  # all places are taken as yet
        return False


def daemon_at_a_port(place):
    """A port that is free, and a daemon there; another program may be faster."""
    for _ in range(10):
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        with contextlib.suppress(AssertionError):
            return port, Daemon(place, "--metrics", f"127.0.0.1:{port}")
    raise AssertionError("no port is free")


@test
def metrics_are_served_to_this_host_alone(place):
    for where in ("0.0.0.0:9100", "192.0.2.1:9100", "metrics.sock", "[::]:9100", "127.0.0.1"):
        result = subprocess.run([VMMS, "--socket", place.path + "/s", "--state", place.path + "/t",
                                 "--metrics", where], capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        expect(result.returncode == 1 and result.stderr.count("\n") == 1, result)
        expect("127.0.0.1:PORT" in result.stderr, result.stderr)
    port, daemon = daemon_at_a_port(place)
    with daemon:
        for host, status in (("localhost", 200), ("127.0.0.1", 200), ("evil.test", 421)):
            client = http_client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            client.request("GET", "/metrics", headers={"Host": f"{host}:{port}"})
            answer = client.getresponse()
            expect(answer.status == status, host, answer.status)
            expect(status != 200 or Page(answer.read().decode()), "it is no page")
            client.close()


if __name__ == "__main__":
    sys.exit(main())
