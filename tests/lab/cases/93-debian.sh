# shellcheck shell=bash disable=SC2034,SC2154 # deadline, memory and cpus are settings of ../lib.sh
# A Debian as an administrator has it: by firmware, GRUB and systemd.

# begin_debian: that disk, in the background; its network leads to a tap.
begin_debian()
{
	make_tap
	cp --sparse=always "$LAB/../../build/debian/disk.img" disk.img
	deadline=800 memory=1G cpus=1
	run --generation 1 --disk disk.img --nic "tap=$TAP" --console "file:$PWD/console" \
		--firmware-log firmware >run.log 2>&1 &
	guest=$!
	trap 'kill $(jobs -p) $(pidof bulkhead) 2>/dev/null || true; cat run.log firmware console || true; clean_network' EXIT
}

# has_come N: so many times to a login, and to the end of its report.
has_come()
{
	[ -e console ] && [ "$(grep -c 'debian login:' console)" -ge "$1" ] &&
		[ "$(grep -c 'bh: reported:' console)" -ge "$1" ]
}

# runs_well N: all of it works, so many times.
runs_well()
{
	local fact
	for fact in 'root: hv_storvsc' 'network: hv_netvsc' 'ping: 0' 'first: systemd' 'state: running'; do
		[ "$(grep -c "bh: $fact" console)" -eq "$1" ] || fail "not '$fact', at start $1"
	done
}

# left_in_order: the root's file system was unmounted.
left_in_order()
{
	dd if=disk.img of=root.img bs=1M skip=1 status=none
	dumpe2fs -h root.img >superblock 2>/dev/null
	expect 'Filesystem state: *clean' superblock
	reject needs_recovery superblock
	e2fsck -fn root.img
}

debian_lives()
{
	local patience=400
	begin_debian
	comes "no login" has_come 1
	runs_well 1
	"$BULKHEAD" send-key lab ctrl-alt-delete
	comes "ctrl-alt-delete does not restart it" has_come 2
	runs_well 2
	expect 'reboot: Restarting system'
	[ "$(grep -c 'Booting from Hard Disk' firmware)" -eq 2 ] || fail "it did not start by the firmware"

	"$BULKHEAD" button lab
	wait "$guest"
	expect 'status 0$' run.log
	expect 'reboot: Power down'
	left_in_order
}
long=yes lab_case "Generation 1: Debian with GRUB and systemd restarts by keys and ends by its button" debian_lives
