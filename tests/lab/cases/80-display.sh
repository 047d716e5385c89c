# shellcheck shell=bash disable=SC2034,SC2154 # append, kernel and deadline are settings of ../lib.sh
# Screen, keyboard and mouse through stock drivers, seen and used by VNC and by the command line.

screen()
{
	timeout "$deadline" "$LAB/screen" "$@"
}

# watch [OPTION...]: the guest in the background.
watch()
{
	deadline=900	# a slow machine draws slowly
	[ -e root.img ] || fresh_root
	boot display "$@" >boot.log 2>&1 &
	guest=$!
	trap 'kill $(jobs -p) $(pidof bulkhead) 2>/dev/null || true; cat boot.log console || true' EXIT
}

goes_on()
{
	"$BULKHEAD" send-key lab x
}

ended()
{
	wait "$guest"
	grep -q 'status 0' boot.log || fail "the run did not end well"
}

# Without VNC; the picture waits for nobody, and each key has the guest go on.
is_photographed()
{
	kernel=6.12
	watch --video 1280x720
	wait_for 'bh: drawn' console
	expect 'bh: driver: hyperv_drm'
	expect 'bh: driver: hyperv_keyboard'
	expect 'bh: driver: hid_hyperv'
	expect 'bh: size: 1280,720'
	"$BULKHEAD" screenshot lab shot.png --json >told
	expect '"height": 720' told
	"$BULKHEAD" pause lab
	"$BULKHEAD" screenshot lab shot.png
	"$BULKHEAD" resume lab
	goes_on
	wait_for 'bh: mode set' console
	goes_on
	wait_for 'bh: ready' console
	goes_on
	ended
}
lab_case "a screen without VNC" is_photographed

# The same by VNC and by the command line, each pixel of it.
shows_and_hears()
{
	local vnc=$PWD/vnc.sock client
	kernel=6.12
	append="vt.global_cursor_default=0"
	watch --vnc "unix:$vnc"
	wait_for 'bh: drawn' console
	expect 'bh: size: 1024,768'
	screen "$vnc" await-size 1024x768 await-pixel 1,1 ff0000 await-pixel 1022,1 0000ff \
		await-pixel 1,766 00ff00 await-pixel 1022,766 ffffff picture drawn.ppm
	"$BULKHEAD" screenshot lab drawn.png --json >told
	expect '"width": 1024' told
	screen png drawn.png drawn.ppm >compared
	cat compared
	expect '^1024x768: 0 of 786432 pixels differ, 4 colours' compared
	# Keys and pointer; a viewer that goes lets go of what it held.
	screen "$vnc" key a key 0xff52 pointer 1023,0,1 pointer 1023,767,8 pointer 0,0,4 press 0xffe3
	wait_for 'code 30 \(KEY_A\), value 0' console
	expect 'code 30 \(KEY_A\), value 1'
	wait_for 'code 103 \(KEY_UP\), value 1' console
	wait_for 'code 29 \(KEY_LEFTCTRL\), value 0' console
	wait_for 'code 273 \(BTN_RIGHT\), value 0' console
	expect 'code 273 \(BTN_RIGHT\), value 1'
	expect 'code 0 \(ABS_X\), value 32767'
	expect 'code 1 \(ABS_Y\), value 32767'
	expect 'code 272 \(BTN_LEFT\), value 1'
	expect 'code 8 \(REL_WHEEL\), value 1'
	# Another resolution, for a viewer that was there before, too.
	screen "$vnc" await-size 1024x768 size await-size 800x600 colours >seen &
	client=$!
	wait_for 1024x768 seen
	"$BULKHEAD" send-key lab shift-f5 --text "x"
	wait_for 'code 42 \(KEY_LEFTSHIFT\), value 1' console
	wait_for 'code 63 \(KEY_F5\), value 1' console
	wait "$client"
	cat seen
	expect '^([5-9]|[0-9]{2,})$' seen
	wait_for 'bh: mode set' console
	goes_on
	wait_for 'bh: ready' console
	goes_on
	ended
}
lab_case "a screen is seen by VNC and screenshot" shows_and_hears

# The cloud kernel has no driver for this screen, but for the keyboard; and VNC goes over TCP.
types_on_cloud()
{
	append="bh.screen=no"
	ip link set lo up
	watch --vnc 127.0.0.1:5901
	wait_for 'bh: ready' console
	expect 'bh: driver: hyperv_keyboard'
	! "$BULKHEAD" screenshot lab none.png 2>sentence || fail "there is a picture"
	expect 'the guest shows nothing' sentence
	[ ! -e none.png ] || fail "there is a file"
	screen 127.0.0.1:5901 size clients 9 >told
	cat told
	expect '^640x480' told
	expect '^7$' told
	screen 127.0.0.1:5901 key b key x
	wait_for 'code 48 \(KEY_B\), value 1' console
	ended
}
lab_case "a keyboard of the cloud kernel" types_on_cloud
