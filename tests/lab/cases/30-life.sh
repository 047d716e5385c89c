# shellcheck shell=bash disable=SC2034 # cpus, memory and append are settings of ../lib.sh
# Resets, crashes, kernels that start kernels, and the power button.

resets_and_exits()
{
	boot boots --on-reset exit
	expect_status 3
	expect 'bh: boots: 1'
	reject 'bh: boots: 2'
}
lab_case "with --on-reset exit a reboot ends the run with 3" resets_and_exits

resets_at_work()
{
	append=$1
	boot resets --on-reset restart
	expect_status 0
	expect 'bh: boots: 3'
	expect 'bh: timer of processor 0: ticks'
	expect 'bh: timer of processor 1: ticks'
}
lab_case "a reset with all processors at work" resets_at_work ""
lab_case "a triple fault with all processors at work" resets_at_work reboot=t

kexecs()
{
	boot kexec --vmbus-max-version "$1"
	expect_status 0
	expect 'bh: now kexec'
	expect "bh: vmbus: Vmbus version:$1"
	expect 'bh: sda: hv_storvsc'
	expect 'bh: facts ended with 0'
}
lab_case "kexec at VMBus 4.0" kexecs 4.0

crashes()
{
	boot crash
	expect_status 4
	expect 'sysrq|Crash|panic' vmm
}
lab_case "a crash ends the run with 4 and the guest's message" crashes

crashes_and_spins()
{
	append=panic=0
	boot crash
	expect_status 4
	expect 'sysrq|Crash|panic' vmm
}
lab_case "a crash after which the guest only spins ends the run with 4" crashes_and_spins

keeps_a_crash_dump()
{
	# Wherever the kernel has put itself, a crash kernel finds this room beside it.
	memory=448M
	append=crashkernel=128M
	fresh_root
	# Room for a dump of all memory that is not the crash kernel's.
	truncate -s 640M root.img
	resize2fs root.img
	boot kdump
	expect_status 4
	expect 'bh: crash kernel'
	expect 'bh: vmcore saved'
	e2fsck -fy root.img || [ $? -eq 1 ]
	debugfs -R "dump /vmcore vmcore" root.img
	debugfs -R "cat /vmcore.sum" root.img >sum
	[ "$(sha256sum <vmcore | cut -d ' ' -f 1)" = "$(cat sum)" ]
	file=$(od -An -c -N 4 vmcore | tr -d ' ')
	[ "$file" = '177ELF' ] || fail "the dump begins with $file"
	grep -aq 'lab: these words were in memory' vmcore || fail "the dump lacks the guest's words"
}
long=yes lab_case "a panic's kdump is written through hv_storvsc" keeps_a_crash_dump
