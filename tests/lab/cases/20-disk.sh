# shellcheck shell=bash disable=SC2034 # cpus, memory and append are settings of ../lib.sh
# Disks under load, under errors, and shared by mistake.

fio_verifies_across_kernels()
{
	truncate -s 32M data.img
	boot fio-across --on-reset restart --disk data.img --vmbus-max-version "$1"
	expect_status 0
	expect 'bh: fio after the reset: 0'
	expect 'bh: fio after the kexec: 0'
}
for version in 2.4 5.3; do
	lab_case "fio verifies across a reset and a kexec at VMBus $version" \
		fio_verifies_across_kernels $version
done

# make_disks: a full house on one controller. Those of the checks are by their LUNs $read_only, $discarded,
# $full, $full_vhdx, $bad and $block; the others have as many MiB as their LUN says.
make_disks()
{
	local files=() i
	modprobe -d "$BH_KERNEL" dm-mod
	export DM_DISABLE_UDEV=1
	read_only=2 discarded=3 full=4 full_vhdx=5 bad=6 block=7
	trap 'leave_disks' EXIT

	truncate -s 8M read-only.img
	sha256sum read-only.img >before
	files[read_only]=read-only.img,ro
	truncate -s 64M discarded.img
	files[discarded]=discarded.img
	# The host has no room for what they say that they hold.
	mkdir small small-vhdx
	mount -t tmpfs -o size=24m tmpfs small
	mount -t tmpfs -o size=24m tmpfs small-vhdx
	truncate -s 64M small/data.img
	files[full]=small/data.img
	"$BULKHEAD" disk create small-vhdx/data.vhdx --size 64M --block-size 1M
	files[full_vhdx]=small-vhdx/data.vhdx
	# It cannot be read in its middle (dm-error between two linear parts).
	tr '\0' 'g' </dev/zero | dd of=good.img bs=1M count=16 iflag=fullblock conv=notrunc
	loop=$(losetup -f --show good.img)
	printf '%s\n' "0 16384 linear $loop 0" "16384 8 error" "16392 16376 linear $loop 16392" |
		dmsetup create bad
	files[bad]=/dev/mapper/bad
	truncate -s 32M block.img
	block_loop=$(losetup -f --show block.img)
	files[block]=$block_loop,direct

	disks=()
	for ((i = 1; i < 32; i++)); do
		if [ -z "${files[i]:-}" ]; then
			files[i]=disk$i.img
			truncate -s "${i}M" "disk$i.img"
		fi
		disks+=(--disk "${files[i]}")
	done
}

leave_disks()
{
	dmsetup remove bad
	losetup -d "$loop" "$block_loop"
	umount small small-vhdx
}

# has_no_room LUN: writes fail in the guest, what was there is still right.
has_no_room()
{
	part "no-space:$1"
	expect 'bh: first 8 MiB: written' part
	expect 'bh: the rest: failed' part
	expect 'bh: first 8 MiB: intact' part
	expect "bh: no-space:$1 ended with 0" part
}

# One guest has them all.
serves_many_disks()
{
	make_disks
	boot "disks,read-only:$read_only,discard:$discarded,no-space:$full,no-space:$full_vhdx,read-errors:$bad,fio-small:$block,fio-ext4" \
		"${disks[@]}"
	expect_status 0
	part disks
	expect 'bh: lun 1: 2048 ' part
	expect 'bh: lun 31: 63488 ' part
	passed

	part "read-only:$read_only"
	expect 'bh: disk ro: 1' part
	expect 'bh: write: failed' part
	sha256sum -c before
	passed

	part "discard:$discarded"
	expect 'bh: discarded reads as: 0' part
	[ "$(stat -c %b discarded.img)" -lt 32768 ] ||
		fail "the image still holds $(stat -c %b discarded.img) blocks"
	passed

	has_no_room $full
	passed

	has_no_room $full_vhdx
	qemu-img check -q -f vhdx small-vhdx/data.vhdx
	"$BULKHEAD" disk check small-vhdx/data.vhdx
	passed

	part "read-errors:$bad"
	expect 'bh: before: good' part
	expect 'bh: at the error: failed' part
	expect 'bh: after: good' part
	passed

	part "fio-small:$block"
	expect 'bh: fio: 0' part
	passed

	part fio-ext4
	expect 'bh: fio: 0' part
	e2fsck -fn root.img
}
lab_cases serves_many_disks -- "32 disks on one controller" "a read-only disk stays as it was" \
	"a discard gives space back" "no space left on the host is an error in the guest" \
	"no space left under a growing VHDX" "a read error of the host's disk reaches the guest" \
	"a host block device as a disk" "fio verifies files on ext4"

read_only_root()
{
	fresh_root
	sha256sum root.img >before
	rm -f console
	run --kernel "$IMAGES/vmlinuz" --initrd "$IMAGES/initrd.img" --append \
		"console=ttyS0 quiet panic=-1 ro bh.test=facts" \
		--console "file:$PWD/console" --disk root.img,ro
	cat console
	expect_status 0
	expect 'bh: sda: hv_storvsc'
	sha256sum -c before
}
lab_case "boots from a read-only root disk" read_only_root

# A disk that does not answer (a suspended dm-linear), with a flush in flight, which the kernel does
# not let a killed process leave: the VM can be turned off all the same, and its worker goes when the
# disk answers again.
hung_disk()
{
	modprobe -d "$BH_KERNEL" dm-mod
	export DM_DISABLE_UDEV=1
	truncate -s 16M good.img
	loop=$(losetup -f --show good.img)
	trap 'dmsetup resume slow; wait; dmsetup remove slow; losetup -d "$loop"' EXIT
	dmsetup create slow --table "0 32768 linear $loop 0"
	fresh_root
	boot writes --disk /dev/mapper/slow &
	wait_for 'bh: written' console
	dmsetup suspend --noflush --nolockfs slow
	sleep 1
	status=0
	"$BULKHEAD" pause lab 2>refused || status=$?
	cat refused
	expect_status 9
	expect "no answer within .* waits for a disk of the host" refused
	kill "$(busybox pidof bulkhead)"
	wait
	cat vmm
	expect "did not stop within 10 s and was killed, but the host's kernel holds it" vmm
	busybox pidof bulkhead-vmwp
	dmsetup resume slow
	for ((i = 0; i < 100; i++)); do
		busybox pidof bulkhead-vmwp || return 0
		sleep 0.2
	done
	fail "the worker outlives its I/O"
}
lab_case "a VM whose disk hangs can be turned off" hung_disk
