# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # what the guest expands; settings of ../lib.sh
# A VM is saved and goes on, again and again, with stock guests that are at work meanwhile.  They serve
# as those of 60-integration.sh do.

# start_vm COMMAND [ARG...]: the VM that it runs is in the background, its words in ./ran.
start_vm()
{
	"$@" >ran 2>&1 &
	vm=$!
	trap 'leave' EXIT
}

# leave: a case that failed tells what is known of its guest, and leaves none.
leave()
{
	"$BULKHEAD" service lab || true
	pkill -x bulkhead || true
	wait
	tail -n 200 ran console
}

# save_vm: the VM ends, and is in ./saved.
save_vm()
{
	"$BULKHEAD" save lab saved
	wait "$vm"
	trap - EXIT
	cat ran
	grep -q 'status 0$' ran || fail "the run did not end as it should"
	du -h saved/*
}

# go_on: the VM that at_work started, from ./saved, which is used up by that.
go_on()
{
	start_vm boot services "${options[@]}" --restore saved
	wait_for_state heartbeat 'heartbeat ok'
	[ -z "$(ls saved)" ] || fail "the saved state is still there"
}

complaint='BUG:|WARNING:|Oops:|stall|lockup|hung|unstable|rror|time.?out|timed out|reset|lost|exception'

load='modprobe hv_netvsc; modprobe hv_balloon; modprobe hyperv_drm 2>/dev/null
	. /bh/lib
	. /bh/net-lib
	use_address 192.168.77.2/24
	disk=$(lun 1)
	dmesg -c >/dev/null
	ping -i 0.5 192.168.77.1 >/tmp/ping &
	while :; do
		fio --ioengine=libaio --direct=1 --filename=$disk --verify=crc32c \
			--verify_fatal=1 --verify_state_save=0 --iodepth=16 --group_reporting --minimal --size=8M \
			--name=mixed --rw=randwrite --bsrange=512-128k --blockalign=512 \
			--name=small --rw=randwrite --bs=4k --offset=32M --randseed=7 >/tmp/fio
		echo $? >>/tmp/fio.ends
		[ ! -e /tmp/enough ] || break
	done &'

# at_work: a guest with load on its disk and its adapter, and a screen.
at_work()
{
	deadline=600
	append="hv_storvsc.storvsc_vcpus_per_sub_channel=1 $pressure"
	make_tap
	truncate -s 96M data.img
	options=(--disk data.img --nic "tap=$TAP" --video 800x600)
	fresh_root
	start_vm boot services "${options[@]}"
	wait_for 'bh: services: up' console
	wait_for_state heartbeat 'heartbeat ok'
	wait_for_state file-copy ready
	guest_does "$load"
}

# its_clock: the guest has the host's time.
its_clock()
{
	local before said
	before=$(date +%s)
	guest_does 'echo "bh: clock: $(date +%s)"'
	said=$(sed -n 's/.*bh: clock: \([0-9]*\).*/\1/p' console | tail -n 1)
	echo "guest $said, host $before to $(date +%s)"
	((said >= before - 1 && said <= $(date +%s) + 1)) || fail "the guest's clock is wrong"
}

# ends_well: all that was at work has seen nothing.
ends_well()
{
	guest_does 'touch /tmp/enough
		n=$(cat /tmp/fio.ends | wc -l)
		until [ "$(cat /tmp/fio.ends | wc -l)" -gt "$n" ]; do usleep 100000; done
		echo "bh: fio: $(sort -u /tmp/fio.ends | tr "\\n" " ")end of $(cat /tmp/fio.ends | wc -l)"
		killall -INT ping; sleep 0.5; grep transmitted /tmp/ping
		ping -c 3 -W 5 192.168.77.1 >/dev/null; echo "bh: ping: $?"
		dmesg; echo "bh: complaints: $(dmesg | grep -c -E "'"$complaint"'")"'
	expect 'bh: fio: 0 end of'
	expect 'bh: ping: 0'
	expect 'bh: complaints: 0'
	[ "$("$BULKHEAD" kvp get lab OSName)" = Linux ] || fail "not a Linux"
	"$BULKHEAD" service lab
	finish
	outside_agrees data.img
	e2fsck -fn root.img
}

# round: saved at any moment, and restored later.
round()
{
	sleep 0.$RANDOM
	save_vm
	sleep 3
	go_on
	wait_for_state timesync 'syncs 1'
	its_clock
}

goes_on_with_memory()
{
	memory=startup=512M,min=256M,max=1G,reporting=off cpus=1
	at_work
	wait_memory state '"ready"'
	"$BULKHEAD" memory set lab --target 384M
	wait_memory assigned $((384 << 20))
	round
	wait_memory assigned $((384 << 20))
	"$BULKHEAD" memory set lab --target 768M
	wait_memory assigned $((768 << 20))
	round
	wait_memory assigned $((768 << 20))
	guest_does "mount -t tmpfs -o size=90% none /mnt; $check"
	expect 'bh: sums agree'
	round
	ends_well
}
long=yes lab_case "saved and restored at work, with memory that moves" goes_on_with_memory

shows()
{
	"$BULKHEAD" screenshot lab "$1"
}

goes_on_with_more_processors()
{
	cpus=3 kernel=6.12
	at_work
	guest_does 'echo 0 >/sys/class/graphics/fbcon/cursor_blink
		dd if=/dev/urandom of=/dev/fb0 bs=64k count=20; sleep 2'
	shows before.png
	round
	shows after.png
	cmp before.png after.png
	round
	round
	ends_well
}
long=yes lab_case "saved and restored at work, with three processors and a screen" goes_on_with_more_processors

# Of an operating system that knows nothing of Hyper-V.

# pc OPTION...: that disk, by its own boot sector.
pc()
{
	rm -f console
	run --generation 1 --disk disk.img --disk data.img --nic "tap=$TAP,legacy" \
		--console "file:$PWD/console" --on-reset exit "$@"
}

# pc_again: saved at this moment, and restored.
pc_again()
{
	save_vm
	sleep 3
	start_vm pc --restore saved
	until "$BULKHEAD" inspect lab >/dev/null; do
		sleep 0.5
	done
	[ -z "$(ls saved)" ] || fail "the saved state is still there"
}

shown()
{
	"$BULKHEAD" screenshot lab --text
}

emulated_goes_on()
{
	local before after round
	cpus=1 deadline=900
	make_tap
	# GRUB's menu waits for a key.
	boot_disk 6.12 'bh.test=emulated-work bh.modules=ata_piix,sd_mod ata_piix.prefer_ms_hyperv=0"; set timeout="-1'
	truncate -s 96M data.img
	start_vm pc
	wait_for_screen 'Linux on the disk'
	sleep 2
	before=$(shown)
	pc_again
	after=$(shown)
	[ "$after" = "$before" ] || fail "'$after' is on the screen, not '$before'"
	"$BULKHEAD" send-key lab enter
	wait_for 'bh: work: begun' console
	expect 'bh: modules: 0'
	for round in 1 2 3; do
		sleep 1.$RANDOM
		pc_again
		wait_for 'bh: fio: 0' console
	done
	ip addr add 192.168.77.9/24 dev "$TAP"
	wait "$vm"
	trap - EXIT
	cat ran console
	reject 'bh: fio: [^0]'
	expect 'bh: rounds: '
	expect 'bh: ping: 0'
	expect 'bh: complaints: 0'
	outside_agrees data.img
	tail -c +1048577 disk.img >root.img
	e2fsck -fn root.img
}
long=yes lab_case "saved and restored at GRUB's menu and in IDE's DMA" emulated_goes_on
