# shellcheck shell=bash disable=SC2034 # cpus, memory and append are settings of ../lib.sh
# Devices that come and go under load, and disks of the network, each with a stock guest.

# vm_boots SCRIPT [OPTION...]: boot in the background; its process in $vm.
vm_boots()
{
	fresh_root
	boot "$@" &
	vm=$!
}

# At last a controller, which leaves in order: the guest is told, and asked again until it has let go of
# the disk.
hot_devices()
{
	append="bh.rounds=$1"
	tap_network
	truncate -s 16M more.img
	vm_boots hot-nic,hot-controller
	for ((round = 1; round <= $1; round++)); do
		wait_for "bh: round $round waits for a NIC" console
		"$BULKHEAD" nic attach lab "tap=$TAP"
		wait_for "bh: round $round waits for its end" console
		"$BULKHEAD" nic detach lab nic0
	done
	wait_for 'bh: hot-nic ended with' console
	for ((round = 1; round <= $1; round++)); do
		expect "bh: round $round ping: 0"
		expect "bh: round $round gone: 0"
	done
	expect 'bh: complaints: 0'
	expect 'bh: hot-nic ended with 0'
	passed

	for round in 1 2; do
		wait_for "bh: round $round waits for a controller" console
		[ "$("$BULKHEAD" controller attach lab)" = scsi1 ]
		"$BULKHEAD" disk attach lab more.img --controller scsi1
		wait_for "bh: round $round waits for the end of it" console
		"$BULKHEAD" controller detach lab scsi1
	done
	wait $vm
	for round in 1 2; do
		expect "bh: round $round size: 32768 sectors"
		expect "bh: round $round use: 0"
		expect "bh: round $round load: ended with [1-9]"
		expect "bh: round $round controller: gone"
	done
	expect 'bh: the root disk: 4 bytes'
	reject 'bh: complaints: [1-9]'
	expect 'bh: hot-controller ended with 0'
}
lab_cases hot_devices 5 -- "NICs come and are pulled out under load, again and again" \
	"a controller leaves under fio, and comes again"

network_block_device()
{
	local written
	qemu-img create -q -f qcow2 nbd.qcow2 32M
	qemu-nbd --socket "$PWD/nbd.sock" --format qcow2 --persistent nbd.qcow2 &
	server=$!
	trap 'kill -9 $server 2>/dev/null || true' EXIT
	until [ -S nbd.sock ]; do sleep 0.1; done
	vm_boots nbd --disk "nbd+unix:///?socket=$PWD/nbd.sock"
	wait_for "bh: waits for the server's end" console
	sleep 1
	kill -9 $server
	wait $vm
	expect 'bh: size: 65536 sectors'
	expect 'bh: fio: 0'
	expect 'bh: wrote: 0'
	expect 'bh: load: ended with 1'
	expect 'bh: a read: 1'
	expect 'bh: the root disk: 4 bytes'
	expect 'bh: nbd ended with 0'
	expect '--disk nbd.*: the server is gone' vmm
	# What was flushed is in the image, which needs no repair of what it holds.
	qemu-img convert -f qcow2 -O raw nbd.qcow2 nbd.raw
	written=$(head -c 4M nbd.raw | md5sum | cut -d' ' -f1)
	expect "bh: md5: $written"
}
lab_case "a qcow2 by qemu-nbd, and its server killed under fio" network_block_device
