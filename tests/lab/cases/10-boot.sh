# shellcheck shell=bash disable=SC2034 # kernel, cpus, memory and append are settings of ../lib.sh
# A stock kernel boots, finds the synthetic disk, and powers off.

l1_has_kvm()
{
	[ -c /dev/kvm ]
	grep -q svm /proc/cpuinfo
}
lab_case "L1 has a KVM" l1_has_kvm

doctor_finds_a_userland()
{
	"$BULKHEAD" doctor --json >report
	cat report
	python3 -c 'import json; assert json.load(open("report"))["linux_userland"] is True'
}
lab_case "doctor finds that L1 can run a Linux userland" doctor_finds_a_userland

# At every version of the bus the kernel boots, and its disk keeps what is written. Linux asks for as
# many sub-channels as it has further VPs.
boots_at_version()
{
	cpus=$2
	truncate -s 96M data.img
	boot "facts,$3" --disk data.img --vmbus-max-version "$1"
	expect_status 0
	expect 'bh: hypervisor: Hypervisor detected: Microsoft Hyper-V'
	expect "bh: vmbus: Vmbus version:$1"
	expect "bh: processors: $2"
	expect "bh: sda: hv_storvsc"
	expect "bh: sda-channels: $2"
	expect 'bh: complaints: 0'
	expect 'bh: fio: 0'
	[ "$3" != fio-raw ] || outside_agrees data.img
}
for machine in "2.4 2 fio-raw" "3.0 4 fio-small" "4.0 1 fio-raw" "4.1 2 fio-small" "5.0 4 fio-small" \
	"5.1 2 fio-small" "5.2 1 fio-small" "5.3 8 fio-raw"; do
	read -r version count script <<<"$machine"
	lab_case "boots at VMBus $version with $count VPs, and fio verifies a disk over a channel each" \
		boots_at_version "$version" "$count" "$script"
done

# By default there is neither a device tree nor synthetic timers.
boots_with_options()
{
	memory=4G
	boot facts --dtb --stimer on
	expect_status 0
	expect 'bh: clockevent: Hyper-V'
	expect 'bh: sda: hv_storvsc'
	expect 'bh: complaints: 0'
	passed
	expect 'bh: memory: (39|40)[0-9]{5} kB'
}
lab_cases boots_with_options -- "boots with a device tree and synthetic timers" \
	"boots with memory above the 4 GiB hole"

keeps_what_was_synced()
{
	boot demo
	expect_status 0
	sum=$(grep -Eo '^[0-9a-f]{64}' console)
	boot demo
	expect_status 0
	expect "^$sum"
	expect '^/data: OK'
}
lab_case "a second boot finds what the first one synced" keeps_what_was_synced

boots_kernel()
{
	kernel=$1
	boot facts
	expect_status 0
	expect "bh: kernel: $2"
	expect 'bh: hypervisor: Hypervisor detected: Microsoft Hyper-V'
	expect 'bh: vmbus: Vmbus version:5.3'
	expect 'bh: sda: hv_storvsc'
	expect 'bh: complaints: 0'
	e2fsck -fn root.img
}
lab_case "boots the 6.1 cloud kernel" boots_kernel cloud '6\.1\..*-cloud-amd64'
lab_case "boots the generic 6.12 kernel" boots_kernel 6.12 '6\.12\.[^c]*-amd64'

# An ELF kernel with a PVH note is booted by PVH, unless it is given a device tree. Linux knows who
# loaded it: PVH has the number 0xb0, we have none.
boots_vmlinux()
{
	local loader=$1
	shift
	"$LAB/../../scripts/vmlinux" "$IMAGES/vmlinuz" vmlinux
	fresh_root
	run --kernel vmlinux --initrd "$IMAGES/initrd.img" --append \
		"console=ttyS0 quiet panic=-1 bh.test=facts" --console "file:$PWD/console" \
		--on-reset exit --disk root.img "$@"
	cat console
	expect_status 0
	expect 'bh: hypervisor: Hypervisor detected: Microsoft Hyper-V'
	expect "bh: loader: $loader"
	expect 'bh: sda: hv_storvsc'
	expect 'bh: complaints: 0'
	e2fsck -fn root.img
}
lab_case "boots a vmlinux ELF by PVH" boots_vmlinux 176
lab_case "boots a vmlinux ELF by the 64-bit protocol" boots_vmlinux 255 --dtb
