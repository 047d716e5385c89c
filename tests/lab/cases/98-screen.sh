# shellcheck shell=bash disable=SC2034,SC2154 # of ../lib.sh
# The screen of a Generation 1 VM: the firmware's, the boot loader's, and that of stock drivers after
# them. Of 97-generation1.sh come boot_disk, wait_for_screen and press.

dark=aa0000,0000aa,00aa00,aaaaaa	# the console's colours

# screen_disk KERNEL LINE...: ./disk.img, with that kernel and these lines of GRUB's menu.
screen_disk()
{
	boot_disk "$1" ""
	shift
	printf '%s\n' "set timeout=-1" "$@" >append.cfg
	"$LAB/screen" fields 800x600 8x16 "$dark" grub.ppm
	"$LAB/screen" tga grub.ppm grub.tga
	dd if=disk.img of=root.img bs=1M skip=1 conv=sparse status=none
	{
		echo "cd /boot/grub"
		echo "rm append.cfg"
		echo "write append.cfg append.cfg"
		echo "write grub.tga grub.tga"
	} | debugfs -w root.img
	dd if=root.img of=disk.img bs=1M seek=1 conv=notrunc status=none
	rm root.img
}

# begin_screen [OPTION...]: the VM, in the background; the process in $vm.
begin_screen()
{
	deadline=900
	run --generation 1 --disk disk.img --boot-menu 60 --console "file:$PWD/console" \
		"$@" >ran 2>&1 &
	vm=$!
	trap 'kill $(jobs -p) $(pidof bulkhead) 2>/dev/null || true; cat ran screen console' EXIT
}

# from_disk: past the firmware's own menu.
from_disk()
{
	press 'Press ESC for boot menu' esc
	press 'Select boot device:' 1
}

# step WORD REGEX: lets the guest go on, if it waits, and waits for what its step says.
step()
{
	[ "$1" = first ] || "$BULKHEAD" send-key lab enter
	wait_for "bh: $2" console
}

# shows PICTURE SIZE DIFFER: the screen that picture, as soon as it is there; so many pixels (a regular
# expression) may be others.
shows()
{
	local tries
	for ((tries = 0; tries < 100; tries++)); do
		"$BULKHEAD" screenshot lab shot.png >/dev/null
		"$LAB/screen" png shot.png "$1" >compared 2>&1 || true
		! grep -E "^$2: $3 of " compared || return 0
		sleep 2
	done
	cat compared
	fail "$1 is not on a screen of $2"
}

# shows_fields SIZE CELL [COLOURS]: four fields, each pixel.
shows_fields()
{
	"$LAB/screen" fields "$1" "$2" "${3:-$dark}" fields.ppm
	shows fields.ppm "$1" 0
}

# photographs: one after the other, and what sizes there were; until $vm ends.
photographs()
{
	while kill -0 "$vm" 2>/dev/null; do
		"$BULKHEAD" screenshot lab loop.png --json >loop.json 2>loop.err &&
			sed -n 's/.*"\(width\|height\)": \([0-9]*\).*/\2/p' loop.json | paste -sd x >>sizes
		sleep 2
	done
}

leaves_text()
{
	local vm common="console=tty0 console=ttyS0 quiet panic=-1 bh.test=screen"
	screen_disk 6.12-cloud \
		"menuentry 'New Linux' {" \
		"linux16 /vmlinuz $common vga=0xf01 bh.steps=rows,fields,hyperv_fb,fields,restart" \
		"initrd16 /initrd.img" "}"
	begin_screen
	photographs &
	from_disk
	press 'New Linux' enter
	step first 'rows: 50 80'
	"$BULKHEAD" screenshot lab --text >screen
	seq -f 'row %g of 50' 50 | diff - screen
	step next 'fields: 50 80'
	shows_fields 720x400 9x8
	step next 'hyperv_fb: 48 128, 0 hyperv_fb'
	expect 'bh: pci of hyperv_fb: hyperv_fb'
	step next 'fields: 48 128'
	shows_fields 1024x768 8x16
	! "$BULKHEAD" screenshot lab --text 2>sentence || fail "there is a text"
	expect 'its screen has no text mode' sentence
	# A restart gives the VGA its screen back.
	"$BULKHEAD" send-key lab enter
	wait_for_screen 'Press ESC for boot menu'
	sort sizes | uniq -c
}
long=yes lab_case "Generation 1: the screen goes from VGA text to hyperv_fb" leaves_text

# Who looks by VNC meanwhile sees each picture.
leaves_vbe()
{
	local vm viewer common="console=tty0 console=ttyS0 quiet panic=-1 bh.test=screen"
	screen_disk 6.12 \
		"menuentry 'By GRUB' {" \
		"loadfont /boot/grub/ascii.pf2" \
		"set gfxmode=800x600x32" \
		"terminal_output gfxterm" \
		"background_image /boot/grub/grub.tga" \
		"echo 'A picture'" \
		"sleep --interruptible 600" \
		"set gfxpayload=keep" \
		"linux /vmlinuz $common bh.steps=fields,hyperv_drm,fields" \
		"initrd /initrd.img" "}"
	begin_screen --vnc "unix:$PWD/vnc.sock"
	wait_for_screen 'Press ESC for boot menu'
	timeout "$deadline" "$LAB/screen" ./vnc.sock await-size 720x400 await-size 800x600 \
		await-size 1024x768 await-pixel 0,0 aa0000 await-pixel 1023,767 aaaaaa \
		picture seen.ppm size >seen 2>&1 &
	viewer=$!
	from_disk
	press 'By GRUB' enter
	# But for what GRUB writes over it.
	shows grub.ppm 800x600 '[0-9]{1,3}'
	"$BULKHEAD" send-key lab esc
	step first 'fields: 37 100, 0 VESA VGA'
	shows_fields 800x600 8x16
	"$LAB/screen" ./vnc.sock key 0xff0d
	step first 'hyperv_drm: 48 128, 0 hyperv_drmdrmfb'
	expect 'bh: pci of hyperv_drm: hyperv_drm'
	step next 'fields: 48 128'
	shows_fields 1024x768 8x16
	wait "$viewer" || fail "the viewer ended badly"
	cat seen
	"$LAB/screen" png shot.png seen.ppm >compared
	expect '^1024x768: 0 of' compared
	"$BULKHEAD" send-key lab enter
	wait "$vm"
}
long=yes lab_case "Generation 1: the screen goes from a VBE framebuffer to hyperv_drm" leaves_vbe

stays_emulated()
{
	local vm common="console=tty0 console=ttyS0 quiet panic=-1 bh.test=screen"
	common+=" bh.modules=ata_piix,sd_mod ata_piix.prefer_ms_hyperv=0"
	screen_disk 6.12 \
		"menuentry 'By the kernel' {" \
		"linux16 /vmlinuz $common vga=0x314 bh.steps=fields,bochs,fields" \
		"initrd16 /initrd.img" "}"
	begin_screen
	from_disk
	press 'By the kernel' enter
	step first 'fields: 37 100, 0 VESA VGA'
	expect 'bh: machine: .* 0 modules of the bus'
	shows_fields 800x600 8x16 ad0000,0000ad,00aa00,adaaad
	step next 'bochs: 37 100, 0 VESA VGA'
	expect 'bh: pci of bochs: nobody'
	step next 'fields: 37 100'
	shows_fields 800x600 8x16 ad0000,0000ad,00aa00,adaaad
	"$BULKHEAD" send-key lab enter
	wait "$vm"
}
long=yes lab_case "Generation 1: the screen of a guest that knows nothing of Hyper-V" stays_emulated
