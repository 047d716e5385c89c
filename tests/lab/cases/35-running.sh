# shellcheck shell=bash
# What is seen of a running guest from outside, and changed.

# make_discs: a seed, and two discs for the drive.
make_discs()
{
	mkdir seed
	echo 'instance-id: lab' >seed/meta-data
	echo '#cloud-config' >seed/user-data
	for disc in first second; do
		mkdir $disc
		echo "the $disc disc" >$disc/words
		xorriso -as mkisofs -quiet -r -J -o $disc.iso $disc
	done
}

# What cloud-init looks for: a volume of that name with those files.
finds_its_seed()
{
	wait_for 'bh: seed ended with 0' console
	expect 'bh: volume: /dev/sr1'
	expect 'bh: meta-data: instance-id: lab'
	expect 'bh: user-data: #cloud-config'
}

# A disc is read, changed and taken out.
changes_discs()
{
	wait_for 'bh: waits for the second disc' console
	"$BULKHEAD" disk insert lab 1 second.iso
	wait_for 'bh: waits for none' console
	"$BULKHEAD" disk eject lab 1
	wait_for 'bh: dvd ended with 0' console
	expect 'bh: drive: Virtual DVD-ROM'
	expect 'bh: first: the first disc'
	expect 'bh: second: the second disc'
	expect 'bh: last: none'
}

# A disk comes, is written to and goes again, twice at the same LUN.
changes_disks()
{
	truncate -s 8M disk1.img
	truncate -s 16M disk2.img
	for round in 1 2; do
		wait_for "bh: round $round waits for a disk" console
		"$BULKHEAD" disk attach lab "disk$round.img"
		wait_for "bh: round $round waits for its end" console
		"$BULKHEAD" disk detach lab "disk$round.img"
	done
	wait_for 'bh: hot-disk:3 ended with 0' console
	expect 'bh: round 1 size: 16384 sectors'
	expect 'bh: round 2 size: 32768 sectors'
	expect 'bh: round 1 gone: 0'
	expect 'bh: round 2 gone: 0'
	expect 'bh: the root disk: 4 bytes'
	grep -q 'written in round 1' disk1.img
	grep -q 'written in round 2' disk2.img
}

directs_nmi()
{
	wait_for 'bh: waits for an NMI' console
	"$BULKHEAD" nmi lab --vp 1
	wait_for 'bh: nmi ended with' console
	expect 'bh: NMIs of the first: 0'
	expect 'bh: NMIs of the second: 1'
}

inspects()
{
	wait_for 'bh: holding' console
	"$BULKHEAD" inspect lab >tree
	cat tree
	expect 'vmbus' tree
}

refuses_another_writer()
{
	local refusal=0
	timeout 20 "$BULKHEAD" run --name other --memory 128M --kernel "$IMAGES/vmlinuz" \
		--console none --disk root.img >refused 2>&1 </dev/null || refusal=$?
	cat refused
	[ $refusal -eq 1 ] || fail "the second run ended with status $refusal, not 1"
	expect 'root.img' refused
	wait_for 'bh: hold ended with 0' console
}

# It ends the guest, too.
presses_the_button()
{
	wait_for 'bh: waiting for the button' console
	"$BULKHEAD" button lab
	wait "$guest"
	expect 'bh: the button was pressed'
	expect 'bh: button ended with 0'
	expect 'status 0$' ran
}

handles_a_running_guest()
{
	make_discs
	fresh_root
	boot seed,dvd,hot-disk:3,nmi,hold,button --cdrom first.iso --seed seed >ran 2>&1 &
	guest=$!
	# A case that fails leaves no guest behind.
	trap 'kill $(jobs -p) $(pidof bulkhead) 2>/dev/null || true; cat ran console || true' EXIT
	finds_its_seed
	passed
	changes_discs
	passed
	changes_disks
	passed
	directs_nmi
	passed
	inspects
	passed
	refuses_another_writer
	passed
	presses_the_button
}
lab_cases handles_a_running_guest -- "a seed is found as cloud-init looks for it" \
	"a DVD is changed and ejected while the guest runs" \
	"disks are attached and detached while the guest runs" \
	"an NMI reaches the processor that it is sent to" "inspect prints the tree of a running guest" \
	"a second writer of an image is refused" "the power button reaches the guest"
