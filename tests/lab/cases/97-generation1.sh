# shellcheck shell=bash disable=SC2034,SC2154 # of ../lib.sh
# Generation 1: SeaBIOS, and what it boots.

# boots_from WORD OPTION...
boots_from()
{
	local word=$1
	shift
	rm -f console
	run --generation 1 --debug-exit --console "file:$PWD/console" --firmware-log firmware "$@"
	cat firmware
	expect_status 42
	expect "^booted from a $word"
}

boot_sectors()
{
	"$LAB/sectors" .
	boots_from disk --disk disk.img
	boots_from CD --disk disk.img --cdrom cd.iso
	boots_from floppy --disk disk.img --floppy floppy.img --boot-order floppy,disk
	expect 'Found 2 cpu' firmware
}
lab_case "Generation 1: SeaBIOS boots a disk, a CD and a floppy" boot_sectors

# boot_disk KERNEL PARAMETERS: ./disk.img, from which GRUB loads that kernel.
boot_disk()
{
	fresh_root
	printf 'set parameters="console=ttyS0 quiet panic=-1 %s"\n' "$2" >append.cfg
	{
		echo "rm /vmlinuz"
		echo "rm /initrd.img"
		echo "write $IMAGES/$1/vmlinuz vmlinuz"
		echo "write $IMAGES/$1/initrd.img initrd.img"
		echo "cd /boot/grub"
		echo "write append.cfg append.cfg"
	} | debugfs -w root.img
	cat "$IMAGES/boot.img" root.img >disk.img
	rm root.img
}

# boot_firmware [OPTION...]: that disk, by its own boot sector.
boot_firmware()
{
	rm -f console
	run --generation 1 --disk disk.img --console "file:$PWD/console" --firmware-log firmware \
		--on-reset exit "$@"
	echo "--- firmware"
	cat firmware
	echo "--- console"
	cat console
}

boots_emulated()
{
	make_tap
	boot_disk 6.12 "bh.test=emulated bh.modules=ata_piix,sd_mod ata_piix.prefer_ms_hyperv=0"
	truncate -s 96M data.img
	boot_firmware --disk data.img --nic "tap=$TAP,legacy"
	expect_status 0
	expect 'bh: kernel: 6\.12\.[^c]*-amd64'
	expect 'bh: modules: 0'
	expect 'bh: root: ata_piix'
	expect 'bh: data: ata_piix 196608 sectors'
	expect 'bh: fio: 0'
	outside_agrees data.img
	expect 'bh: eth0: tulip'
	expect 'bh: ping: 0'
	expect 'bh: complaints: 0'
}
long=yes lab_case "Generation 1: GRUB boots Linux on an emulated disk and adapter" boots_emulated

# The same disk by firmware and boot loader, and then as the bus has it.
comes_away()
{
	boot_disk 6.12-cloud "bh.test=facts"
	truncate -s 96M data.img
	boot_firmware --disk data.img
	expect_status 0
	expect 'bh: hypervisor: Hypervisor detected: Microsoft Hyper-V'
	expect 'bh: sda: hv_storvsc'
	expect 'bh: sdb: hv_storvsc'
	expect 'bh: complaints: 0'
	dd if=disk.img of=root.img bs=1M skip=1 status=none
	e2fsck -fn root.img
}
long=yes lab_case "Generation 1: Linux comes from the emulated disk to the synthetic one" comes_away

# serve_boot: DHCP on the tap, and what its answers have clients boot.
serve_boot()
{
	# An advertised router, too: iPXE waits 15 seconds for one.
	ip -6 addr add fd77::1/64 dev "$TAP" nodad
	mkdir tftp
	"$LAB/sectors" tftp
	in_background dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null --user=root \
		--port=0 --interface="$TAP" --bind-interfaces --leasefile-ro --no-ping \
		--dhcp-range=192.168.77.50,192.168.77.90 --dhcp-range=fd77::,ra-only --enable-ra \
		--dhcp-boot=network.0 --enable-tftp --tftp-root="$PWD/tftp" >served 2>&1
	wait_for 'TFTP root is' served
}

boots_by_ipxe()
{
	make_tap
	serve_boot
	memory=64M
	boots_from network --cdrom "$IMAGES/ipxe.iso" --nic "tap=$TAP,legacy,mac=00:15:5d:01:02:03"
	cat served
	expect 'DHCPACK\(bh0\) 192\.168\.77\.[0-9]+ 00:15:5d:01:02:03' served
	expect 'sent .*/network\.0 to 192\.168\.77\.' served
}
lab_case "Generation 1: iPXE from a CD boots by the emulated adapter" boots_by_ipxe

# wait_for_screen REGEX: until the screen of $vm, in the background, shows it.
wait_for_screen()
{
	while kill -0 "$vm"; do
		"$BULKHEAD" screenshot lab --text >screen || true
		! grep -Eq -- "$1" screen || return 0
		sleep 0.5
	done
	fail "the run ended, and '$1' did not come on the screen"
}

# press REGEX KEY...: once the screen shows that.
press()
{
	wait_for_screen "$1"
	shift
	"$BULKHEAD" send-key lab "$@"
}

# A whole pass, but for the test that waits for minutes whether bits fade.
tests_memory()
{
	local vm
	memory=16M cpus=1
	run --generation 1 --cdrom "$IMAGES/memtest86+.iso" --console none --on-reset exit >ran 2>&1 &
	vm=$!
	trap 'kill $(jobs -p) $(pidof bulkhead) 2>/dev/null || true; cat ran screen' EXIT
	press '<ESC> Exit  <F1> Configuration' f1
	press '<F1>  Test selection' f1
	press '<F2>  Remove one test' f2
	press 'Enter test #' 1 0 enter
	press '<F10> Exit menu' f10
	press '<F1>  Test selection' f10
	wait_for_screen 'Pass: +1 +Errors: '
	expect 'Pass: +1 +Errors: 0( |$)' screen
	expect 'Status: Pass' screen
	# The first takes the banner away, the second ends it by a reset.
	"$BULKHEAD" send-key lab esc esc
	wait $vm
	expect 'status 3$' ran
}
lab_case "Generation 1: memtest86+ finds no fault in a pass" tests_memory
