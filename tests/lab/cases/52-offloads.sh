# shellcheck shell=bash disable=SC2034,SC2154 # settings of ../lib.sh; of 50-network
# What a NIC does for its guest, each by itself.

# vlan_network: the tap with a VLAN and IPv6, and at every address an echo of what is sent.
vlan_network()
{
	tap_network multi_queue
	modprobe -d "$BH_KERNEL" 8021q
	ip addr add fd77::1/64 dev "$TAP" nodad
	ip link add link "$TAP" name "$TAP.7" type vlan id 7
	ip addr add 192.168.78.1/24 dev "$TAP.7"
	ip link set "$TAP.7" up
	in_background socat -t 60 TCP6-LISTEN:5300,fork,reuseaddr,ipv6only=0 EXEC:cat
}

expect_carried()
{
	local what
	for what; do
		expect "bh: $what carries: 0"
	done
}

expect_features()
{
	local feature
	for feature; do
		expect "^[[:space:]]*$feature"
	done
}

offloads_and_queues()
{
	local offload
	cpus=4
	vlan_network
	boot net-deep --nic "tap=$TAP,queues=4"
	expect_status 0
	expect 'bh: queues: 4'
	expect 'bh: queues by default: 0123'
	expect 'bh: queues with a table of one: 0\b'
	expect 'bh: queues with a table of the last two: 23'
	# What the driver has at its start; of the tags of VLANs it lets nobody choose.
	expect_features 'rx-checksumming: on' 'tx-checksum-ipv4: on' 'tx-checksum-ipv6: on' \
		'scatter-gather: on' 'tx-tcp-segmentation: on' 'tx-tcp6-segmentation: on' \
		'receive-hashing: on' 'large-receive-offload: on' \
		'rx-vlan-offload: on \[fixed\]' 'tx-vlan-offload: on \[fixed\]'
	expect_carried 'as it comes' 'over IPv6' 'with rsc' 'with rsc over IPv6' \
		'with rsc and no trust' vlan 'vlan without tx' 'vlan without tso'
	for offload in tx rx sg tso gso gro rxhash; do
		expect_carried "without $offload"
	done
	expect 'bh: segmented by the host: 0'
	expect 'bh: segmented by the host over IPv6: 0'
	expect 'bh: segmented by the host without tso: 1'
	expect 'bh: received whole: 0'
	expect 'bh: received whole over IPv6: 0'
	expect 'bh: received whole without rsc: 1'
	expect 'bh: vlan ping: 0'
	expect 'bh: features as before: 0'
	expect 'bh: bad sums: 0'
	expect 'bh: complaints: 0'
}
lab_case "each offload, RSC, VLANs, and the table of four queues" offloads_and_queues
