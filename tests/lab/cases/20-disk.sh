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

fio_verifies_ext4()
{
	boot fio-ext4
	expect_status 0
	expect 'bh: fio: 0'
	e2fsck -fn root.img
}
lab_case "fio verifies files on ext4" fio_verifies_ext4

discards_punch_holes()
{
	truncate -s 64M data.img
	boot discard --disk data.img
	expect_status 0
	expect 'bh: discarded reads as: 0'
	[ "$(stat -c %b data.img)" -lt 32768 ] || fail "the image still holds $(stat -c %b data.img) blocks"
}
lab_case "a discard gives space back" discards_punch_holes

many_disks()
{
	local disks=() i
	for ((i = 1; i < 32; i++)); do
		truncate -s "${i}M" "disk$i.img"
		disks+=(--disk "disk$i.img")
	done
	boot disks "${disks[@]}"
	expect_status 0
	expect 'bh: lun 1: 2048 '
	expect 'bh: lun 31: 63488 '
}
lab_case "32 disks on one controller" many_disks

read_only_disk()
{
	truncate -s 8M data.img
	sha256sum data.img >before
	boot read-only --disk data.img,ro
	expect_status 0
	expect 'bh: disk ro: 1'
	expect 'bh: write: failed'
	sha256sum -c before
}
lab_case "a read-only disk stays as it was" read_only_disk

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

# A disk whose file has no room left: writes fail in the guest, what was there is still right.
no_space_left()
{
	mkdir small
	mount -t tmpfs -o size=24m tmpfs small
	trap 'umount small' EXIT
	truncate -s 64M small/data.img
	boot no-space --disk small/data.img
	expect_status 0
	expect 'bh: first 8 MiB: written'
	expect 'bh: the rest: failed'
	expect 'bh: first 8 MiB: intact'
}
lab_case "no space left on the host is an error in the guest" no_space_left

# A disk that fails to read in its middle (dm-error between two linear parts).
read_errors()
{
	modprobe -d "$BH_KERNEL" dm-mod
	export DM_DISABLE_UDEV=1
	truncate -s 16M good.img
	tr '\0' 'g' </dev/zero | dd of=good.img bs=1M count=16 iflag=fullblock conv=notrunc
	loop=$(losetup -f --show good.img)
	trap 'dmsetup remove bad; losetup -d "$loop"' EXIT
	printf '%s\n' "0 16384 linear $loop 0" "16384 8 error" "16392 16376 linear $loop 16392" |
		dmsetup create bad
	boot read-errors --disk /dev/mapper/bad
	expect_status 0
	expect 'bh: before: good'
	expect 'bh: at the error: failed'
	expect 'bh: after: good'
}
lab_case "a read error of the host's disk reaches the guest" read_errors

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

block_device()
{
	truncate -s 32M data.img
	loop=$(losetup -f --show data.img)
	trap 'losetup -d "$loop"' EXIT
	boot fio-small --disk "$loop,direct"
	expect_status 0
	expect 'bh: fio: 0'
}
lab_case "a host block device as a disk" block_device

second_writer()
{
	fresh_root
	boot hold &
	wait_for 'bh: holding' console
	status=0
	timeout 20 "$BULKHEAD" run --name other --memory 128M --kernel "$IMAGES/vmlinuz" \
		--console none --disk root.img >refused 2>&1 </dev/null || status=$?
	cat refused
	expect_status 1
	expect 'root.img' refused
	wait
	expect 'bh: hold ended with 0'
}
lab_case "a second writer of an image is refused" second_writer

# A disk comes, is written to and goes again while the guest runs, twice at the same LUN.
hot_disk()
{
	truncate -s 8M disk1.img
	truncate -s 16M disk2.img
	fresh_root
	boot hot-disk &
	for round in 1 2; do
		wait_for "bh: round $round waits for a disk" console
		"$BULKHEAD" disk attach lab "disk$round.img"
		wait_for "bh: round $round waits for its end" console
		"$BULKHEAD" disk detach lab "disk$round.img"
	done
	wait
	expect 'bh: round 1 size: 16384 sectors'
	expect 'bh: round 2 size: 32768 sectors'
	expect 'bh: round 1 gone: 0'
	expect 'bh: round 2 gone: 0'
	expect 'bh: the root disk: 4 bytes'
	expect 'bh: hot-disk ended with 0'
	grep -q 'written in round 1' disk1.img
	grep -q 'written in round 2' disk2.img
}
lab_case "disks are attached and detached while the guest runs" hot_disk

# A disc is read, changed and taken out while the guest runs.
changes_discs()
{
	for disc in first second; do
		mkdir $disc
		echo "the $disc disc" >$disc/words
		xorriso -as mkisofs -quiet -r -J -o $disc.iso $disc
	done
	fresh_root
	boot dvd --cdrom first.iso &
	wait_for 'bh: waits for the second disc' console
	"$BULKHEAD" disk insert lab 1 second.iso
	wait_for 'bh: waits for none' console
	"$BULKHEAD" disk eject lab 1
	wait
	expect 'bh: drive: Virtual DVD-ROM'
	expect 'bh: first: the first disc'
	expect 'bh: second: the second disc'
	expect 'bh: last: none'
	expect 'bh: dvd ended with 0'
}
lab_case "a DVD is changed and ejected while the guest runs" changes_discs

# What cloud-init looks for: a volume of that name with those files.
seeds()
{
	mkdir seed
	echo 'instance-id: lab' >seed/meta-data
	echo '#cloud-config' >seed/user-data
	boot seed --seed seed
	expect_status 0
	expect 'bh: volume: /dev/sr0'
	expect 'bh: meta-data: instance-id: lab'
	expect 'bh: user-data: #cloud-config'
}
lab_case "a seed is found as cloud-init looks for it" seeds
