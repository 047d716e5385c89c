# shellcheck shell=bash disable=SC2016,SC2154 # for the guest; of 50-network
# Limits of a disk and a NIC, given at the start, taken away, and set again under way: how much goes
# by in the same while, and who had to wait.

# waits DEVICE PART: that counter of the disk or NIC.
waits()
{
	"$BULKHEAD" counters lab --json | python3 -c 'import json, sys
print(json.load(sys.stdin)["devices"][sys.argv[1]][sys.argv[2]]["limit-waits"])' "$@"
}

# received: how many answers ping had, in its summary.
received='sed -n "s/.* \([0-9]*\) received.*/\1/p"'

# flushed: when what waited in the guest and in the host has gone by.
flushed()
{
	"$BULKHEAD" nic set lab nic0 --bandwidth none
	ping -q -c 1 -W 30 192.168.77.2
}

# measure NAME BANDWIDTH: what the guest reads of its second disk in two seconds, and the answers to
# as many frames as there can be with that limit, from the guest and to it.
measure()
{
	"$BULKHEAD" nic set lab nic0 --bandwidth "$2"
	guest_does ". /bh/lib
		fact '$1 reads' \$(fio --name=x --filename=\$(lun 1) --rw=randread --bs=4k --direct=1 \
			--time_based --runtime=2 --minimal | cut -d ';' -f 6)
		fact '$1 pings out' \$(/bin/ping -f -q -w 2 -s 1400 192.168.77.1 | $received)"
	flushed
	"$BULKHEAD" nic set lab nic0 --bandwidth "$2"
	echo "bh: $1 pings in: $(ping -f -q -w 2 -s 1400 192.168.77.2 | eval "$received")" >>figures
	flushed
	grep "bh: $1 " console >>figures
}

# much_less NAME: whether less of each went by with that limit than without.
much_less()
{
	local what limited free
	for what in reads 'pings out' 'pings in'; do
		limited=$(figure "$1 $what") free=$(figure "free $what")
		echo "$what: $limited $1, $free without a limit"
		((limited > 0 && limited * 2 < free)) || fail "the limit does not hold $what"
	done
}

figure()
{
	sed -n "s/^bh: $1: \([0-9]*\).*/\1/p" figures
}

limits_hold()
{
	make_tap
	truncate -s 64M data.img
	serve --disk data.img,iops=2 --nic "tap=$TAP,bandwidth=40K"
	wait_for_state file-copy ready
	guest_does '. /bh/net-lib; use_address 192.168.77.2/24'
	measure first 40K
	(($(waits scsi lun@1) > 2 && $(waits netvsp@nic0 queue@0) > 2)) ||
		fail "nobody waited"
	"$BULKHEAD" disk set lab 1 --iops none
	local disk nic
	disk=$(waits scsi lun@1) nic=$(waits netvsp@nic0 queue@0)
	measure free none
	[ "$disk $nic" = "$(waits scsi lun@1) $(waits netvsp@nic0 queue@0)" ] ||
		fail "somebody waited without a limit"
	"$BULKHEAD" disk set lab data.img --bandwidth 8K
	measure second 40K
	much_less first
	much_less second
	finish
	clean_network
}
lab_case "a disk and a NIC held to what they may" limits_hold
