# shellcheck shell=bash disable=SC2034 # cpus, memory and append are settings of ../lib.sh
# NICs of a stock guest: taps, and user networking by passt.

TAP=bh0

# in_background COMMAND...: until the case ends.
in_background()
{
	"$@" &
	trap 'jobs -p | xargs -r kill -9 2>/dev/null; clean_network' EXIT
}

clean_network()
{
	ip link del $TAP 2>/dev/null || true
	ip link del outside0 2>/dev/null || true
	ip netns del outside 2>/dev/null || true
	! grep -q ' /etc/resolv.conf ' /proc/mounts || busybox umount /etc/resolv.conf
}

serve_streams()
{
	local port
	for port in 5201 5202; do
		in_background "$@" iperf3 -s -p $port >/dev/null
	done
}

# make_tap [FLAG]: a tap with an address of the host's.
make_tap()
{
	clean_network
	ip tuntap add $TAP mode tap "$@"
	ip addr add 192.168.77.1/24 dev $TAP
	ip link set $TAP up
}

# tap_network [FLAG]: the same, and two servers of streams.
tap_network()
{
	make_tap "$@"
	serve_streams
}

# outside_network: what user networking leads to: a router with a name server and servers of streams.
outside_network()
{
	clean_network
	modprobe -d "$BH_KERNEL" veth
	ip netns add outside
	ip link add outside0 type veth peer name inside netns outside
	ip addr add 10.9.0.2/24 dev outside0
	ip link set outside0 up
	ip -n outside addr add 10.9.0.1/24 dev inside
	ip -n outside link set inside up
	ip -n outside link set lo up
	ip route add default via 10.9.0.1
	echo 'nameserver 10.9.0.1' >resolv.conf
	chmod 644 resolv.conf
	busybox mount -o bind resolv.conf /etc/resolv.conf
	# Who may send echo requests without rights, as passt does.
	echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
	in_background ip netns exec outside "$LAB/name_server" host.example 10.9.0.1
	serve_streams ip netns exec outside
}

expect_both_ways()
{
	local kind direction
	for kind in tcp udp; do
		for direction in out in; do
			expect "bh: $1 $kind $direction: 0"
		done
	done
}

# carries_streams QUEUES: what net-tap said.
carries_streams()
{
	expect "bh: queues: $1"
	expect 'bh: ping: 0'
	expect_both_ways 'with offloads'
	expect_both_ways 'without offloads'
	expect_both_ways 'with offloads again'
	expect 'bh: flood: 0'
	expect 'bh: long pings: 0'
	expect 'bh: complaints: 0'
}

four_queues()
{
	cpus=4
	append=bh.streams=4
	tap_network multi_queue
	boot net-tap --nic "tap=$TAP,queues=4"
	expect_status 0
	carries_streams 4
}
lab_case "streams over a tap with four queues" four_queues

has_nics_of_its_own()
{
	tap_network multi_queue
	boot net-facts --nic tap=$TAP,mac=00:15:5d:aa:bb:cc --nic user
	expect_status 0
	expect 'bh: eth0 driver: hv_netvsc'
	expect 'bh: eth0 mac: 00:15:5d:aa:bb:cc'
	expect 'bh: eth0 carrier: 1'
	expect 'bh: eth0 feature tx-tcp-segmentation: on'
	expect 'bh: eth0 feature rx-checksumming: on'
	expect 'bh: eth1 mac: 00:15:5d:'
	# There is no way out of this host.
	expect 'passt has ended \(External interface not usable\)' vmm
	expect 'bh: eth1 carrier: 0'
	expect 'bh: complaints: 0'
}
lab_case "two NICs with their addresses and features" has_nics_of_its_own

# reaches_out: what net-user said.
reaches_out()
{
	expect 'bh: dhcp: 0'
	expect 'bh: name: 10.9.0.1'
	expect 'bh: ping: 0'
	expect 'bh: tcp out: 0'
	expect 'bh: tcp in: 0'
	expect 'bh: udp out: 0'
	expect 'bh: udp in: 0'
	expect 'bh: complaints: 0'
}

# use_and_lose SCRIPT USES LOSES OPTION...: a guest that uses its network by the script, and then loses
# the link under load. USES says what must have come of the script, LOSES takes the link.
use_and_lose()
{
	local script=$1 uses=$2 loses=$3
	shift 3
	(
		boot "$script,net-lost" "$@"
		echo "$status" >status
	) &
	local vmm=$!
	wait_for "bh: $script ended with" console
	cat console
	$uses
	passed
	wait_for 'bh: ready to lose the link' console
	$loses
	wait $vmm
	status=$(cat status)
	expect_status 0
	part net-lost
	expect 'bh: carrier: 0'
	expect 'bh: writes a file: 0'
	expect 'bh: takes the interface down: 0'
	expect 'bh: complaints: 0' part
}

delete_tap()
{
	ip link del $TAP
}

uses_a_tap()
{
	append=bh.streams=1
	tap_network multi_queue
	use_and_lose net-tap "carries_streams 1" delete_tap --nic "tap=$TAP,queues=1"
	expect 'the link is down: the host has deleted its interface' vmm
}
lab_cases uses_a_tap -- "streams over a tap with one queue" "a tap deleted under load"

kill_passt()
{
	# shellcheck disable=SC2046 # a list of numbers
	kill -9 $(busybox pidof passt passt.avx2)
}

uses_passt()
{
	append=bh.outside
	outside_network
	use_and_lose net-user reaches_out kill_passt --nic user
	expect 'passt has ended \(killed by signal 9' vmm
}
lab_cases uses_passt -- "address, names and streams by user networking" "passt killed under load"
