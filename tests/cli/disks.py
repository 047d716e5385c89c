#!/usr/bin/env python3
"""Disk images by `bulkhead disk`, seen by ourselves and by others' tools; TAP on standard output.

    disks.py BULKHEAD PAYLOADS

What needs qemu-img or vhdiinfo is left out where they are not installed.
"""

import functools
import os
import random
import shutil
import subprocess
import sys
import tempfile

from harness import Skip, expect, expect_failure, main, test

PATIENCE = 100  # seconds for an image, where each byte of it is written
MIB = 1 << 20
# How qemu-img calls the formats.
FORMATS = {"vhdx": "vhdx", "vhd": "vpc"}


def disk(place, *arguments):
    return place.does("disk", *arguments, timeout=PATIENCE)


def reply(place, *arguments):
    return place.reply("disk", *arguments, timeout=PATIENCE)


def refused(place, *arguments, words, code=1):
    expect_failure(place.run("disk", *arguments, timeout=PATIENCE), code, *words)


def tool(name, *arguments):
    if not shutil.which(name):
        return ""
    result = subprocess.run([name, *arguments], capture_output=True, text=True, timeout=PATIENCE)
    if result.returncode:
        raise AssertionError(f"{name} {arguments}: {result.stdout}{result.stderr}")
    return result.stdout


def write_raw(name="disk.raw", size=48 * MIB, seed=1):
    """A disk with data here and there."""
    source = random.Random(seed)
    with open(name, "wb") as file:
        file.truncate(size)
        for _ in range(12):
            file.seek(source.randrange(size // 512 - 512) * 512)
            file.write(source.randbytes(source.randrange(1, 300) * 512))
    return name


def same_as_raw(place, raw, image):
    name = image.rsplit(".", 1)[1]
    tool("qemu-img", "compare", "-f", "raw", "-F", FORMATS[name], raw, image)
    if name == "vhdx":
        tool("qemu-img", "check", image)
    disk(place, "convert", image, "back.raw")
    with open(raw, "rb") as one, open("back.raw", "rb") as other:
        expect(one.read() == other.read(), f"{image} differs from {raw}")
    os.unlink("back.raw")


def each_format(function):
    """A test that runs for each format, every time in a directory of its own."""
    @functools.wraps(function)
    def run(place):
        for name in FORMATS:
            with tempfile.TemporaryDirectory(dir=".") as path:
                os.chdir(path)
                try:
                    function(place, name)
                finally:
                    os.chdir("..")
    return run


@test
@each_format
def conversions_keep_every_byte(place, name):
    raw = write_raw()
    for options in (("--block-size", "1M"), ("--fixed",)):
        disk(place, "convert", raw, f"disk.{name}", *options)
        expect(not reply(place, "check", f"disk.{name}")["damages"], "damages")
        same_as_raw(place, raw, f"disk.{name}")
        os.unlink(f"disk.{name}")


@test
def a_raw_image_is_copied_to_another(place):
    raw = write_raw()
    disk(place, "convert", raw, "copy.raw")
    with open(raw, "rb") as one, open("copy.raw", "rb") as other:
        expect(one.read() == other.read(), "the copy differs")


@test
@each_format
def images_of_qemu_are_read(place, name):
    if not shutil.which("qemu-img"):
        raise Skip("no qemu-img")
    raw = write_raw(size=64 * MIB)
    for kind in ("dynamic", "fixed"):
        options = f"subformat={kind}" + (",force_size=on" if name == "vhd" else "")
        tool("qemu-img", "convert", "-O", FORMATS[name], "-o", options, raw, f"disk.{name}")
        expect(not reply(place, "check", f"disk.{name}")["damages"], "damages")
        same_as_raw(place, raw, f"disk.{name}")


@test
@each_format
def larger_and_smaller(place, name):
    raw = write_raw()
    for options in ((), ("--fixed",)):
        block = () if options and name == "vhd" else ("--block-size", "1M")
        disk(place, "convert", raw, f"disk.{name}", *block, *options)
        disk(place, "resize", f"disk.{name}", "100M")
        os.truncate(raw, 100 * MIB)
        same_as_raw(place, raw, f"disk.{name}")
        disk(place, "compact", f"disk.{name}")
        same_as_raw(place, raw, f"disk.{name}")
        refused(place, "resize", f"disk.{name}", "1M", words=["lose"])
        os.truncate(raw, 48 * MIB)
        os.unlink(f"disk.{name}")


@test
def a_vhd_made_larger_keeps_its_table_when_compacted(place):
    """Growing puts the table behind the blocks; zeroes before it leave room to move up."""
    with open("raw", "wb") as file:
        file.write(random.randbytes(8 * MIB))
        file.truncate(64 * MIB)
    disk(place, "convert", "raw", "disk.vhd")
    disk(place, "resize", "disk.vhd", "500G")
    with open("disk.vhd", "r+b") as file:
        header = file.read(2048)[512:]
        table = int.from_bytes(header[16:24], "big")
        block_bytes = int.from_bytes(header[32:36], "big")
        file.seek(table)
        first = int.from_bytes(file.read(4), "big") * 512
        expect(table > first, "the table lies behind the first block")
        file.seek(first + 512)
        file.write(bytes(block_bytes))
    disk(place, "compact", "disk.vhd")
    disk(place, "check", "disk.vhd")


@test
def a_vhdx_made_larger_than_its_table_has_room_for(place):
    raw = write_raw()
    for image in ("base.vhdx", "child.vhdx"):
        disk(place, "convert", raw, "base.vhdx", "--block-size", "1M")
        if image == "child.vhdx":
            disk(place, "create", image, "--block-size", "1M", "--parent", "base.vhdx")
        disk(place, "resize", image, "300G")
        expect(reply(place, "info", image)["bytes"] == 300 << 30, "the size")
        expect(not reply(place, "check", image)["damages"], "damages")
        if image == "base.vhdx":
            tool("qemu-img", "check", image)
            disk(place, "compact", image)
            expect(not reply(place, "check", image)["damages"], "damages")
        disk(place, "convert", image, "back.raw")
        with open(raw, "rb") as one, open("back.raw", "rb") as other:
            expect(one.read() == other.read(48 * MIB), "what was in it")
        before = os.stat(image).st_size
        refused(place, "resize", image, "16T", words=[image, "blocks of 1 MiB", "convert"])
        expect(os.stat(image).st_size == before, "it was changed")
        os.unlink("base.vhdx")
        os.unlink("back.raw")


@test
def a_vhdx_that_has_a_parent_grows_as_far_as_it_can_be_opened(place):
    too_large = ["child.vhdx", "no parent", "convert"]
    disk(place, "create", "base.vhdx", "--size", "8M")
    refused(place, "create", "child.vhdx", "--parent", "base.vhdx", "--size", "3T",
            words=too_large)
    disk(place, "create", "child.vhdx", "--parent", "base.vhdx", "--block-size", "1M")
    before = os.stat("child.vhdx").st_size
    refused(place, "resize", "child.vhdx", "3T", words=too_large)
    expect(os.stat("child.vhdx").st_size == before, "it was changed")
    disk(place, "resize", "child.vhdx", "2T")
    disk(place, "check", "child.vhdx")


@test
@each_format
def children_know_their_parents(place, name):
    os.mkdir("base")
    raw = write_raw()
    disk(place, "convert", raw, f"base/disk.{name}")
    disk(place, "create", f"one.{name}", "--parent", f"base/disk.{name}")
    disk(place, "create", f"two.{name}", "--parent", f"one.{name}")
    expect(reply(place, "info", f"two.{name}")["parents"][0] == f".\\one.{name}", "the path")
    same = disk(place, "convert", f"two.{name}", "back.raw")
    with open(raw, "rb") as one, open("back.raw", "rb") as other:
        expect(one.read() == other.read(), same)
    expect("Differential" in (tool("vhdiinfo", f"two.{name}") or "Differential"), "vhdiinfo")
    os.rename(f"one.{name}", f"gone.{name}")
    refused(place, "check", f"two.{name}", words=[f"two.{name}", "parent is missing"])
    disk(place, "create", f"one.{name}", "--size", "48M")
    refused(place, "check", f"two.{name}", words=[f"one.{name}", "is not the parent"])
    os.unlink(f"one.{name}")
    os.link(f"two.{name}", f"one.{name}")
    refused(place, "check", f"two.{name}", words=["its own ancestor"])


@test
@each_format
def children_move_with_their_parents(place, name):
    for folder in ("tree/base", "tree/child/deep"):
        os.makedirs(folder)
    child = f"child/deep/two.{name}"
    disk(place, "create", f"tree/base/one.{name}", "--size", "4M")
    disk(place, "create", f"tree/{child}", "--parent", f"tree/base/one.{name}")
    expect(reply(place, "info", f"tree/{child}")["parents"][0] == f"..\\..\\base\\one.{name}",
           reply(place, "info", f"tree/{child}"))
    disk(place, "create", f"tree/child/three.{name}", "--parent", f"tree/{child}")
    expect(reply(place, "info", f"tree/child/three.{name}")["parents"][0] == f".\\deep\\two.{name}",
           reply(place, "info", f"tree/child/three.{name}"))
    disk(place, "create", f"tree/base-two.{name}", "--parent", f"tree/base/one.{name}")
    # A folder whose name begins like the parent's.
    os.mkdir("tree/bas")
    disk(place, "create", f"tree/bas/four.{name}", "--parent", f"tree/base/one.{name}")
    expect(reply(place, "info", f"tree/bas/four.{name}")["parents"][0] == f"..\\base\\one.{name}",
           reply(place, "info", f"tree/bas/four.{name}"))
    os.rename("tree", "moved")
    for image in ("child/three", "base-two", "bas/four"):
        disk(place, "check", f"moved/{image}.{name}")


@test
@each_format
def the_longest_chain_can_be_converted(place, name):
    raw = write_raw(size=4 * MIB)
    disk(place, "convert", raw, f"0.{name}")
    for number in range(1, 32):
        disk(place, "create", f"{number}.{name}", "--parent", f"{number - 1}.{name}")
    refused(place, "create", f"32.{name}", "--parent", f"31.{name}", words=["31", "convert"])
    expect(not os.path.exists(f"32.{name}"), "one too many")
    disk(place, "convert", f"31.{name}", "back.raw")
    with open(raw, "rb") as one, open("back.raw", "rb") as other:
        expect(one.read() == other.read(), "the chain's contents")


@test
def sectors_stay_as_large_as_they_were(place):
    disk(place, "create", "base.vhdx", "--size", "8M", "--sector-size", "4096")
    disk(place, "create", "child.vhdx", "--parent", "base.vhdx")
    disk(place, "convert", "child.vhdx", "copy.vhdx")
    for image in ("child", "copy"):
        expect(reply(place, "info", f"{image}.vhdx")["logical_block"] == 4096, image)
    refused(place, "create", "other.vhdx", "--parent", "base.vhdx", "--sector-size", "512",
            words=["4096", "--sector-size"])
    disk(place, "convert", "base.vhdx", "small.vhdx", "--sector-size", "512")
    expect(reply(place, "info", "small.vhdx")["logical_block"] == 512, "as asked")


@test
@each_format
def what_is_refused(place, name):
    image = f"disk.{name}"
    disk(place, "create", image, "--size", "10M")
    refused(place, "create", image, "--size", "10M", words=[image, "there already"])
    refused(place, "create", f"new.{name}", words=["--size"], code=2)
    refused(place, "create", f"new.{name}", "--size", "1000T", words=[f"new.{name}", "size"])
    refused(place, "create", f"new.{name}", "--parent", image, "--fixed",
            words=["leave out --fixed"])
    refused(place, "resize", image, "20M", "--fixed", words=["unknown option --fixed"], code=2)
    refused(place, "create", f"new.{name}", "--size", "10M", "--block-size", "3M", words=["power"])
    refused(place, "create", f"no/such/new.{name}", "--size", "10M", words=["check the path"])
    expect(not os.path.exists(f"new.{name}"), "a file was left")
    refused(place, "info", "nothing", words=["nothing"])
    with open(f"junk.{name}", "wb") as file:
        file.write(b"x" * MIB)
    refused(place, "info", f"junk.{name}", words=[f"junk.{name}"])


@test
def shapes_that_a_format_has_not(place):
    for name, option in (("disk.vhd", "--block-size"), ("disk.raw", "--block-size"),
                         ("disk.raw", "--sector-size"), ("disk.raw", "--physical-sector-size")):
        refused(place, "create", name, "--size", "10M", "--fixed", option,
                "1M" if option == "--block-size" else "4096", words=[name, "leave out"])
        expect(not os.path.exists(name), "a file was left")


sys.exit(main())
