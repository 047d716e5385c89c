#!/usr/bin/env python3
"""The Varlink services, as a client sees them that knows the specification only; TAP.

    varlink.py BULKHEAD PAYLOADS
"""

import contextlib
import json
import os
import re
import resource
import select
import socket
import sys

from daemon import Daemon
from harness import PATIENCE, Vm, expect, main, payload, test, wait_for
from varlink_client import CallError, Connection, Service, Wrong

SERVICE = "org.varlink.service"
VM = "io.bulkhead.VM"
VMMS = "io.bulkhead.VMMS"


@contextlib.contextmanager
def daemon(place):
    with Daemon(place) as running:
        yield Service(running.socket)


def on_each_service(function):
    """A test of it on the daemon, and one on the socket of a VM."""
    def on_the_daemon(place):
        with daemon(place) as service:
            function(service, VMMS)

    def on_a_vm(place):
        with Vm(place):
            function(Service(place.socket("vm")), VM)

    on_the_daemon.__name__ = f"{function.__name__} by the daemon"
    on_a_vm.__name__ = f"{function.__name__} by a VM"
    test(on_the_daemon)
    test(on_a_vm)
    return function


def expect_error(service, name, method, parameters=None, **flags):
    """The parameters of that error; it is as declared, for the client sees to that."""
    try:
        reply = service.call(method, parameters, **flags)
    except CallError as error:
        expect(error.name == name, f"{method} {parameters}: {error}, not {name}")
        return error.parameters
    raise AssertionError(f"{method} {parameters} went well: {reply}")


def expect_invalid(service, parameter, method, parameters, **flags):
    found = expect_error(service, SERVICE + ".InvalidParameter", method, parameters, **flags)
    expect(found["parameter"] == parameter, f"{method} {parameters}: {found}, not {parameter}")


def methods_of(service):
    """The interface, full name and parameters' types of each method that is there."""
    for interface in service.interfaces.values():
        for method, ((_, fields), _) in interface.methods.items():
            yield interface, f"{interface.name}.{method}", fields


def expect_alive(service):
    expect(service.raw(SERVICE + ".GetInfo") == service.info, "another service")


def settings(name="vm", **others):
    return dict({"version": 1, "name": name, "processors": {"count": 1},
                 "memory": {"startup": 64 << 20}, "boot": {"kernel": "/boot/none"}}, **others)


@on_each_service
def a_service_describes_itself(service, name):
    expect(set(service.interfaces) == {SERVICE, name}, service.info)
    for member in ("vendor", "product", "version"):
        expect(service.info[member], service.info)
    found = expect_error(service, SERVICE + ".InterfaceNotFound",
                         SERVICE + ".GetInterfaceDescription", {"interface": "org.example.no"})
    expect(found["interface"] == "org.example.no", found)


@on_each_service
def what_is_not_there_is_told(service, name):
    for method, error, member, value in (
            (f"{name}.Nothing", "MethodNotFound", "method", f"{name}.Nothing"),
            (f"{name}.nothing", "MethodNotFound", "method", f"{name}.nothing"),
            (f"{name}.", "MethodNotFound", "method", f"{name}."),
            (f"{SERVICE}.Nothing", "MethodNotFound", "method", f"{SERVICE}.Nothing"),
            (f"{name}s.Nothing", "InterfaceNotFound", "interface", f"{name}s"),
            ("Nothing", "InterfaceNotFound", "interface", "Nothing"),
            (".", "InterfaceNotFound", "interface", ""),
            ("", "InterfaceNotFound", "interface", "")):
        found = expect_error(service, f"{SERVICE}.{error}", method)
        expect(found == {member: value}, f"{method}: {found}")


# A parameter that nothing knows is refused before a method does anything.
@on_each_service
def every_declared_method_is_there(service, _):
    for _, method, _ in methods_of(service):
        expect_invalid(service, "unheard_of", method, {"unheard_of": 1})


def wrong_values(interface, kind):
    """Values that are not of that type, each with the path to what is wrong of it."""
    kind, inner = kind
    if kind == "named":
        yield from wrong_values(interface, interface.types[inner])
        return
    if kind == "maybe":
        for value, path in wrong_values(interface, inner):
            if value is not None:
                yield value, path
        return
    yield None, ""
    yield {"bool": 1, "int": 1.5, "float": "1", "string": 1, "object": [], "struct": "a",
           "map": [], "array": {}, "enum": "unheard_of"}[kind], ""
    if kind == "array":
        for value, path in wrong_values(interface, inner):
            yield [value], "[0]" + path
    elif kind == "struct":
        yield {"unheard_of": 1}, ".unheard_of"


@on_each_service
def wrong_parameters_are_named(service, _):
    for interface, method, fields in methods_of(service):
        for field, kind in fields.items():
            others = {name: right_value(interface, other)
                      for name, other in fields.items() if name != field}
            for value, path in wrong_values(interface, kind):
                expect_invalid(service, field + path, method, dict(others, **{field: value}))


def right_value(interface, kind):
    kind, inner = kind
    if kind == "named":
        return right_value(interface, interface.types[inner])
    if kind == "struct":
        return {name: right_value(interface, field) for name, field in inner.items()}
    if kind == "enum":
        return inner[0]
    return {"maybe": None, "bool": True, "int": 1, "float": 1, "string": "a", "object": {},
            "map": {}, "array": []}[kind]


@on_each_service
def missing_parameters_are_named(service, _):
    for _, method, fields in methods_of(service):
        needed = [name for name, kind in fields.items() if kind[0] != "maybe"]
        if needed:
            expect_invalid(service, needed[0], method, {})


@on_each_service
def parameters_may_be_left_out(service, _):
    with Connection(service.path) as connection:
        for text in ('{"method": "%s.GetInfo"}', '{"method": "%s.GetInfo", "parameters": null}',
                     '{"method": "%s.GetInfo", "parameters": {}, "more": null, "oneway": false}',
                     '{"org.example": {}, "method": "%s.GetInfo", "more": true}',
                     ' {\t"method"\r:\n"%s.GetInfo" } '):
            connection.send_bytes((text % SERVICE).encode() + b"\0")
            expect(connection.receive() == {"parameters": service.info}, text)


@on_each_service
def pipelined_calls_are_answered_in_order(service, _):
    with Connection(service.path) as connection:
        for number in range(500):
            if number % 5 == 4:
                connection.send(SERVICE + ".GetInfo", oneway=True)
            connection.send(f"org.example.n{number}.Method")
        for number in range(500):
            answer = connection.receive()
            expect(answer["error"] == SERVICE + ".InterfaceNotFound" and
                   answer["parameters"]["interface"] == f"org.example.n{number}", number, answer)


@on_each_service
def a_oneway_call_is_never_answered(service, name):
    with Connection(service.path) as connection:
        for method in (SERVICE + ".GetInfo", name + ".Nothing", "org.example.no.Nothing"):
            connection.send(method, oneway=True)
            connection.send(method, {"unheard_of": 1}, oneway=True, more=True)
        connection.send("org.example.last.Method")
        expect(connection.receive()["parameters"]["interface"] == "org.example.last", "an answer")


@on_each_service
def an_upgrade_is_refused(service, name):
    expect_invalid(service, "upgrade", SERVICE + ".GetInfo", None, upgrade=True)
    with Connection(service.path) as connection:
        connection.send(SERVICE + ".GetInfo", upgrade=True)
        connection.send(SERVICE + ".GetInfo")
        expect("error" in connection.receive(), "an upgrade")
        expect("parameters" in connection.receive(), "no Varlink afterwards")


HOSTILE = {
    "nothing": b"\0",
    "many NULs": b"\0" * 4096,
    "no JSON": b"hello\0",
    "no object": b"[]\0",
    "a number": b"7\0",
    "an open object": b"{\0",
    "something after it": b'{"method": "a.b"} x\0',
    "invalid UTF-8": b'{"method": "a.\xff\xfe"}\0',
    "a surrogate": b'{"method": "a.\\ud800"}\0',
    "a NUL in a string": b'{"method": "a.\\u0000b"}\0',
    "a name twice": b'{"method": "a.b", "method": "c.d"}\0',
    "a parameter twice": b'{"method": "a.b", "parameters": {"a": 1, "a": 2}}\0',
    "an integer out of range": b'{"method": "a.b", "parameters": {"a": 9223372036854775808}}\0',
    "a real out of range": b'{"method": "a.b", "parameters": {"a": 1e999}}\0',
    "not a number": b'{"method": "a.b", "parameters": {"a": NaN}}\0',
    "deep arrays": b'{"method": "a.b", "parameters": {"a": ' + b"[" * 100000 + b"\0",
    "deep objects": b'{"a":' * 100000 + b"1" + b"}" * 100000 + b"\0",
    "no method": b"{}\0",
    "a method that is none": b'{"method": {}}\0',
    "a reply": b'{"parameters": {}}\0',
    "a flag that is none": b'{"method": "a.b", "oneway": "yes"}\0',
    "a long message": b'{"method": "' + b"a" * (2 << 20) + b'"}\0',
    "an endless message": b" " * (4 << 20),
}


@on_each_service
def hostile_messages_end_their_connection_alone(service, _):
    with Connection(service.path) as witness:
        for what, message in HOSTILE.items():
            with Connection(service.path) as connection:
                connection.send_bytes(message)
                connection.send(SERVICE + ".GetInfo")
                try:
                    service.check_answer(None, connection.receive())
                    expect(False, f"{what} was answered")
                except CallError as error:
                    expect(error.name == SERVICE + ".InvalidParameter", what, error)
                expect(connection.receive() is None, f"{what}: the connection goes on")
            witness.send(SERVICE + ".GetInfo")
            expect(witness.receive()["parameters"] == service.info, what)


@on_each_service
def parameters_that_are_no_object_are_refused(service, _):
    with Connection(service.path) as connection:
        for value in ([], 1, "a", True, [{}]):
            connection.send(SERVICE + ".GetInfo", value)
            answer = connection.receive()
            expect(answer == {"error": SERVICE + ".InvalidParameter",
                              "parameters": {"parameter": "parameters"}}, answer)


@on_each_service
def a_message_may_come_byte_by_byte(service, _):
    message = json.dumps({"method": SERVICE + ".GetInfo"}).encode() + b"\0"
    with Connection(service.path) as slow, Connection(service.path) as half:
        half.send_bytes(message[:20])  # and no more
        for byte in message:
            slow.send_bytes(bytes([byte]))
            expect_alive(service)
        expect(slow.receive()["parameters"] == service.info, "the answer")


@on_each_service
def long_calls_that_never_end_hold_little(service, _):
    with contextlib.ExitStack() as stack:
        begun = [stack.enter_context(Connection(service.path)) for _ in range(40)]
        for connection in begun:
            connection.send_bytes(b'{"method": "' + b"a" * ((1 << 20) - 100))
            expect_alive(service)
        refused = select.select([connection.socket for connection in begun], [], [], 0)[0]
        expect(len(refused) > 10, f"{len(refused)} are refused")
        for connection in begun:
            if connection.socket in refused:
                answer = connection.receive()
                expect(answer["error"] == SERVICE + ".InvalidParameter", answer)
    long_call = {"interface": "a" * 900000}
    wait_for(lambda: "interface" in error_of(service, long_call), "room for a long call")


def error_of(service, parameters):
    """What GetInterfaceDescription says of an interface that is not there."""
    try:
        service.call(SERVICE + ".GetInterfaceDescription", parameters)
    except CallError as error:
        return error.parameters
    raise AssertionError("there is such an interface")


@on_each_service
def a_client_that_never_reads_holds_up_nobody(service, _):
    with Connection(service.path) as deaf:
        deaf.socket.setblocking(False)
        call = json.dumps({"method": SERVICE + ".GetInterfaceDescription",
                           "parameters": {"interface": SERVICE}}).encode() + b"\0"
        full = 0
        while full < 3:  # it takes no more, also after it served others
            try:
                deaf.socket.send(call * 64)
                full = 0
            except BlockingIOError:
                full += 1
            expect_alive(service)


@on_each_service
def clients_may_vanish(service, name):
    for size in (1, 30, 1 << 16):
        connections = [Connection(service.path) for _ in range(40)]
        for connection in connections:
            connection.send_bytes((b'{"method": "' + name.encode() + b"a" * size)[:size])
            connection.close()
    for _ in range(40):
        with Connection(service.path) as connection:
            connection.send(SERVICE + ".GetInfo")  # and the answer is not awaited
    expect_alive(service)


@on_each_service
def descriptors_that_come_along_are_not_kept(service, _):
    for message in (b'{"method": "org.varlink.service.GetInfo"}\0', b'{"method": "'):
        read, write = os.pipe()
        with open(read, "rb") as end:
            with Connection(service.path) as connection:
                socket.send_fds(connection.socket, [message], [write] * 8)
                os.close(write)
                expect_alive(service)
            # The end of file comes when nobody has the other end open any more.
            expect(select.select([end], [], [], PATIENCE)[0] and end.read() == b"", "another end")


def many_connections(path):
    """As many as this process may have, up to some thousands."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY or most > 4096:
        most = 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return [Connection(path) for _ in range(most - 100)]


@on_each_service
def thousands_of_connections_leave_room_for_one_more(service, name):
    with contextlib.ExitStack() as stack:
        watch = "Watch" if name == VM else "WatchEvents"
        events = service.stream(f"{name}.{watch}", {} if name == VM else {"history": 1})
        if name == VM:
            next(events)
        for connection in many_connections(service.path):
            stack.callback(connection.close)
        expect_alive(service)
        if name == VM:  # who waits for something is not let go
            service.call(VM + ".Pause")
            expect(next(events)["event"] == "paused", "another event")
            service.call(VM + ".Resume")
        else:
            service.call(VMMS + ".CreateVM", {"settings": settings()})
            expect(next(events)["event"] == "created", "another event")


def start_idle(service):
    """The UUID of a VM of the daemon that runs."""
    vm = service.call(VMMS + ".CreateVM",
                      {"settings": settings(boot={"kernel": payload("idle")})})["vm"]
    service.call(VMMS + ".StartVM", {"vm": "vm"})
    return vm["uuid"]


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@test
def clients_may_leave_what_they_wait_for(place):
    with Daemon(place) as running:
        service = Service(running.socket)
        start_idle(service)
        supervisor = service.call(VMMS + ".GetVM", {"vm": "vm"})["vm"]["supervisor"]
        processes = running.process.pid, supervisor
        before = [descriptors(pid) for pid in processes]
        for method, parameters in (("WatchEvents", {"history": 1000}), ("WaitVM", {"vm": "vm"}),
                                   ("OpenConsole", {"vm": "vm"}), ("Freeze", {"vm": "vm"}),
                                   ("Inspect", {"vm": "vm"}), ("Screenshot", {"vm": "vm"}),
                                   ("CopyFile", {"vm": "vm", "source": "/proc/self/maps", "path": "/a"}),
                                   ("StopVM", {"vm": "vm"}), ("PauseVM", {"vm": "vm"}),
                                   ("ResumeVM", {"vm": "vm"})):
            for number in range(20):
                with Connection(service.path) as connection:
                    connection.send(f"{VMMS}.{method}", parameters, more=number % 4 < 2)
                    if number % 2:
                        connection.socket.setblocking(False)
                        select.select([connection.socket], [], [], 0)
        expect_alive(service)
        # A few may have come for the daemon's own needs; of each method 20 were left.
        wait_for(lambda: all(descriptors(pid) < count + 10 for pid, count in zip(processes, before)),
                 "the end of what they left")
        expect(running.vm("vm")["state"] in ("running", "paused"), "the VM ended")


ODD = {
    "int": [-1, 0, (1 << 31) - 1, 1 << 32, (1 << 63) - 1, -1 << 63],
    "bool": [True, False],
    "string": ["", "/", "..", "../vm", "-a", "--json", "a\nb", "\x7f", "\u202evm", "\U0001f600", "vm ",
               "VM", "%s%n", "a" * 100000],
    "object": [{}, {"name": "a\nb"}, {"disks": [{}]}, {"disks": {"0": []}}, {"uuid": "vm"},
               {"owner": {"uid": -1}}, {"memory": {"startup": -1}}, {"processors": {"count": 1 << 40}},
               {"boot": {"command_line": "a" * 100000}}, {"access": [{"right": "all"}]}, {"": 1}],
}


def odd_values(interface, kind):
    """Values that are as declared, and unlikely."""
    kind, inner = kind
    if kind == "named":
        yield from odd_values(interface, interface.types[inner])
    elif kind == "maybe":
        yield from odd_values(interface, inner)
    elif kind == "array":
        yield []
        for value in odd_values(interface, inner):
            yield [value]
    elif kind == "enum":
        yield from inner
    elif kind == "struct":
        for field, other in inner.items():
            for value in odd_values(interface, other):
                yield dict(right_value(interface, ("struct", inner)), **{field: value})
    else:
        yield from ODD[kind]


# What would end the VM, wait for it, or make a switch on the host.
NOT_CALLED = {"ShutDownHost", "RemoveVM", "StartVM", "StopVM", "RestartVM", "WaitVM", "WatchEvents",
              "AttachNic"}


@test
def odd_values_are_answered(place):
    with Daemon(place) as running:
        service = Service(running.socket)
        uuid = start_idle(service)
        methods = [(method, fields) for interface, method, fields in methods_of(service)
                   if interface.name == VMMS]
        interface = service.interfaces[VMMS]
        for method, fields in methods:
            others = {name: right_value(interface, kind) for name, kind in fields.items()}
            for name in ODD["string"] if fields.get("vm") == ("string", None) else ():
                expect_error(service, VMMS + ".NotFound", method, dict(others, vm=name))
        for method, fields in methods:
            others = {name: right_value(interface, kind) for name, kind in fields.items()}
            others["vm"] = uuid
            for field, kind in fields.items():
                if field == "vm" or method.rpartition(".")[2] in NOT_CALLED:
                    continue
                for value in odd_values(interface, kind):
                    with contextlib.suppress(CallError):
                        service.call(method, dict(others, **{field: value}))
        expect(running.process.poll() is None, "the daemon ended")
        expect(service.call(VMMS + ".GetVM", {"vm": uuid})["vm"]["state"] in ("running", "paused"),
               "the VM does not run")
        for name in running.vms():
            expect(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name), name)


@test
def a_vm_answers_as_it_declares(place):
    with Vm(place):
        service = Service(place.socket("vm"))
        for method in ("Inspect", "Counters", "Memory", "Services", "Pause", "Resume", "Nmi"):
            service.call(f"{VM}.{method}")
        for method, parameters in (("StopTrace", None), ("DetachDisk", {"lun": 7}),
                                   ("SetNic", {"nic": "nic7"}), ("Nmi", {"vp": 77}),
                                   ("AttachNic", {"spec": "nonsense"}),
                                   ("AttachDisk", {"path": "/nonexistent"}),
                                   ("GetKvp", {"pool": "nonsense", "key": "a"})):
            expect(expect_error(service, VM + ".Refused", f"{VM}.{method}", parameters)["message"],
                   method)


@test
def a_vm_is_watched(place):
    with Vm(place) as vm:
        service = Service(place.socket("vm"))
        expect(service.call(VM + ".Watch")["event"] == "state", "one reply")
        events = service.stream(VM + ".Watch")
        expect(next(events)["state"] == "running", "the first")
        service.call(VM + ".Pause")
        service.call(VM + ".Resume")
        seen = [next(events)["event"] for _ in range(2)]
        expect(seen == ["paused", "resumed"], seen)
        service.call(VM + ".Kill")
        while seen[-1] != "end":
            seen.append(next(events)["event"])
        vm.wait()


@test
def the_daemon_answers_as_it_declares(place):
    with daemon(place) as service:
        expect(service.call(VMMS + ".ShowHost")["vms"] == 0, "VMs")
        vm = service.call(VMMS + ".CreateVM", {"settings": settings(notes=None)})["vm"]
        expect(vm["name"] == "vm" and vm["state"] == "off", vm)
        for word in ("vm", vm["uuid"]):
            expect(service.call(VMMS + ".GetVM", {"vm": word})["vm"] == vm, word)
        listed = service.call(VMMS + ".ListVMs")["vms"]
        expect([each["uuid"] for each in listed] == [vm["uuid"]], listed)
        expect_error(service, VMMS + ".Exists", VMMS + ".CreateVM", {"settings": settings()})
        expect_error(service, VMMS + ".NotFound", VMMS + ".GetVM", {"vm": "other"})
        service.call(VMMS + ".RemoveVM", {"vm": "vm"})
        expect_error(service, VMMS + ".NotFound", VMMS + ".RemoveVM", {"vm": "vm"})


@test
def a_vm_of_the_daemon_answers_as_it_declares(place):
    with daemon(place) as service:
        start_idle(service)
        for method in ("Inspect", "Counters", "Memory", "Services", "Nmi", "PauseVM", "ResumeVM"):
            service.call(f"{VMMS}.{method}", {"vm": "vm"})
        for method, parameters in (("Shutdown", {"action": "restart"}), ("Nmi", {"vp": 77}),
                                   ("GetKvp", {"pool": "nonsense", "key": "a"}),
                                   ("SetMemory", {"target": 1 << 20}), ("Thaw", {}),
                                   ("CopyFile", {"source": "/nonexistent", "path": "/a"}),
                                   ("StopTrace", {})):
            found = expect_error(service, VMMS + ".Failed", f"{VMMS}.{method}",
                                 dict(parameters, vm="vm"))
            expect(found["message"].startswith("vm: "), found)


@test
def a_vm_of_the_daemon_is_traced(place):
    with daemon(place) as service:
        trace = os.path.join(place.path, "trace")
        service.call(VMMS + ".CreateVM",
                     {"settings": settings(boot={"kernel": payload("idle")})})
        expect_error(service, VMMS + ".WrongState", VMMS + ".StartTrace",
                     {"vm": "vm", "path": trace})
        service.call(VMMS + ".StartVM", {"vm": "vm"})
        for path in (place.path, os.path.join(place.path, "none", "trace")):
            expect_error(service, VMMS + ".Failed", VMMS + ".StartTrace",
                         {"vm": "vm", "path": path})
        expect(not os.path.exists(trace), "it is there already")
        service.call(VMMS + ".StartTrace", {"vm": "vm", "path": trace})
        expect_error(service, VMMS + ".Failed", VMMS + ".StartTrace", {"vm": "vm", "path": trace})
        found = service.call(VMMS + ".StopTrace", {"vm": "vm"})
        expect(found["dropped"] == 0 and os.path.getsize(trace) > 0, found)


@test
def what_is_passed_on_is_as_in_the_interface_of_a_vm(place):
    """But for the VM's name, and what the daemon adds for itself."""
    own = {"AttachDisk", "DetachDisk", "SetDisk", "ChangeMedium", "AttachNic", "DetachNic", "SetNic",
           "AttachController", "DetachController"}
    with daemon(place) as service, Vm(place):
        theirs = Service(place.socket("vm")).interfaces[VM].methods
        ours = service.interfaces[VMMS].methods
        shared = set(ours) & set(theirs) - own
        expect(len(shared) > 20, shared)
        for method in shared:
            (_, takes), gives = theirs[method]
            takes = dict(takes, vm=("string", None))
            takes.pop("expect", None)
            expect(ours[method] == (("struct", takes), gives), method)


@test
def events_of_the_daemon_are_watched(place):
    with daemon(place) as service:
        expect_error(service, SERVICE + ".ExpectedMore", VMMS + ".WatchEvents", {})
        service.call(VMMS + ".CreateVM", {"settings": settings("first")})
        events = service.stream(VMMS + ".WatchEvents", {"history": 1000})
        seen = []
        while not seen or seen[-1].get("name") != "first":
            seen.append(next(events))
        service.call(VMMS + ".CreateVM", {"settings": settings("second")})
        while seen[-1].get("name") != "second":
            seen.append(next(events))
        numbers = [event["sequence"] for event in seen]
        expect(numbers == sorted(set(numbers)), numbers)


@test
def odd_names_are_refused(place):
    with daemon(place) as service:
        for name in ("", ".", "..", "a/b", "/", "a\nb", "a\tb", "\x1b[31m", "\x7f", " ", "a ",
                     "-a", "x" * 300, "\u202e", "../../etc/passwd", "a" * 100000):
            expect_error(service, VMMS + ".BadSettings", VMMS + ".CreateVM",
                         {"settings": settings(name)})
        expect(service.call(VMMS + ".ListVMs")["vms"] == [], "one of them is there")
        expect(os.listdir(os.path.join(place.path, "state", "vms")) == [], "a file is left")


@test
def of_two_changes_at_once_one_comes_about(place):
    with daemon(place) as service:
        vm = service.call(VMMS + ".CreateVM", {"settings": settings()})["vm"]
        revision = vm["settings"]["revision"]
        connections = [Connection(service.path) for _ in range(8)]
        for number, connection in enumerate(connections):
            connection.send(VMMS + ".SetVM", {"vm": "vm", "revision": revision,
                                              "change": {"notes": f"by {number}"}})
        done = []
        for number, connection in enumerate(connections):
            try:
                service.check_answer(VMMS + ".SetVM", connection.receive())
                done.append(number)
            except CallError as error:
                expect(error.name == VMMS + ".Conflict", error)
            connection.close()
        expect(len(done) == 1, done)
        notes = service.call(VMMS + ".GetVM", {"vm": "vm"})["vm"]["settings"]["notes"]
        expect(notes == f"by {done[0]}", notes)


@test
def of_two_of_a_name_at_once_one_comes_about(place):
    with daemon(place) as service:
        connections = [Connection(service.path) for _ in range(8)]
        for connection in connections:
            connection.send(VMMS + ".CreateVM", {"settings": settings("twin")})
        done = 0
        for connection in connections:
            try:
                service.check_answer(VMMS + ".CreateVM", connection.receive())
                done += 1
            except CallError as error:
                expect(error.name == VMMS + ".Exists", error)
            connection.close()
        expect(done == 1, done)


@test
def the_client_knows_what_is_wrong(place):
    """Were it to take anything, the tests above would show nothing."""
    with daemon(place) as service:
        for answer in (None, {"parameters": {}}, {"parameters": {"vms": [{}]}}, {"result": {}},
                       {"parameters": {"vms": [], "more": 1}}, {"error": VMMS + ".Other"},
                       {"error": VMMS + ".NotFound"}, {"error": "Other"},
                       {"error": VMMS + ".NotFound", "parameters": {"message": 1}}):
            try:
                service.check_answer(VMMS + ".ListVMs", answer)
            except Wrong:
                continue
            raise AssertionError(f"{answer} is taken")


if __name__ == "__main__":
    sys.exit(main())
