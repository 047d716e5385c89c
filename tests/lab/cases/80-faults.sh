# shellcheck shell=bash disable=SC2034 # cpus and append are settings of ../lib.sh
# Guests whose host injects faults, and what is recorded of a bus and a NIC.

# faults_in TRACE PATTERN: how many faults the trace has of those.
faults_in()
{
	"$BULKHEAD" trace show "$1" | grep -c -E "FAULT $2" || true
}

expect_faults()
{
	local count
	count=$(faults_in trace.pcapng "$1")
	echo "--- $count faults: $1"
	[ "$count" -ge "$2" ] || fail "$count faults '$1', not $2"
}

refuses_versions()
{
	boot faults-bus --trace vmbus=trace.pcapng \
		--fault "vmbus: refuse-version 5.3; vmbus: refuse-version 5.2"
	expect_status 0
	expect 'bh: version: 5.1'
	expect 'bh: writes a file: 0'
	expect 'bh: oopses: 0'
	expect_faults refuse-version 2
}
lab_case "a guest whose versions are refused in faults takes an older one" refuses_versions

# The guest warns of what it is sent, once each, and goes on: those warnings are its own.
malforms_offers()
{
	boot faults-bus --trace vmbus=trace.pcapng --fault "vmbus: malformed offer times 6"
	expect_status 0
	expect 'bh: version: 5.3'
	expect 'bh: writes a file: 0'
	expect 'bh: oopses: 0'
	expect_faults 'malformed offer' 6
}
lab_case "a guest with malformed offers in faults goes on" malforms_offers

# Long frames, and how other programs and ours read what was recorded of them and of the bus.
records_long_frames()
{
	tap_network
	ip link set "$TAP" mtu 9000
	boot net-mtu --nic "tap=$TAP" --trace vmbus=trace.pcapng --pcap nic0=frames.pcapng
	expect_status 0
	expect 'bh: mtu: 9000'
	expect 'bh: long frames: 0'
	expect 'bh: tcp out: 0'
	expect 'bh: tcp in: 0'
	expect 'bh: complaints: 0'
	passed
	"$BULKHEAD" trace show trace.pcapng >shown
	grep -v 'GPADL_BODY\|RNDIS_PKT\|RNDIS_MSG_PACKET\|SRB\|COMPLETE_IO' shown | head -n 200
	for name in CHANNELMSG_OFFERCHANNEL CHANNELMSG_OPENCHANNEL_RESULT NVSP_MSG_TYPE_INIT \
		NVSP_MSG1_TYPE_SEND_RNDIS_PKT RNDIS_MSG_INIT RNDIS_MSG_QUERY RNDIS_MSG_PACKET \
		VSTOR_OPERATION_EXECUTE_SRB; do
		expect "$name" shown
	done
	reject 'UNKNOWN' shown
	tshark -n -r frames.pcapng -q -z io,phs
	# The echo requests and their answers.
	tshark -n -r frames.pcapng -Y 'icmp.type == 8' -T fields -e ip.src -e ip.dst >requests
	tshark -n -r frames.pcapng -Y 'icmp.type == 0' -T fields -e ip.src -e ip.dst >answers
	expect '^192.168.77.2.192.168.77.1$' requests
	expect '^192.168.77.1.192.168.77.2$' answers
}
lab_cases records_long_frames -- "frames of 9000 bytes over a tap" \
	"the bus and a NIC's frames are recorded"

# boot_beside SCRIPT RULES: a guest that waits for a disk on a second controller, with faults of
# that one alone.
boot_beside()
{
	fresh_root
	tr '\0' 'g' </dev/zero | dd of=data.img bs=1M count=16 iflag=fullblock
	boot "$1" --trace vmbus=trace.pcapng --fault "seed=7; $2" &
	wait_for 'bh: waits for a disk' console
	"$BULKHEAD" controller attach lab
	"$BULKHEAD" disk attach lab data.img --controller scsi1
	wait
}

# Some reads fail for good: they say so, and nothing else suffers.
medium_errors()
{
	boot_beside faults-medium "scsi1: fail p=0.2 status=medium"
	expect 'bh: reads that failed: [1-9]'
	expect 'bh: reads that went well: [1-9][0-9]'
	expect 'bh: wrong data: 0'
	expect 'bh: writes a file: 0'
	expect 'bh: complaints: 0'
	expect_faults fail 10
}
lab_case "medium errors in faults are read errors and no more" medium_errors

# disk_faults PATTERN RULES: a disk stays right.
disk_faults()
{
	truncate -s 16M data.img
	boot faults-disk --disk data.img --trace vmbus=trace.pcapng --fault "seed=7; $2"
	expect_status 0
	expect 'bh: fio: 0'
	expect 'bh: file: 0'
	expect 'bh: complaints: 0'
	expect_faults "$1" 10
}
lab_case "a disk whose completions are delayed stays right" \
	disk_faults "delay" "scsi0: delay 5ms p=0.1"
lab_case "a disk that says busy now and then stays right" \
	disk_faults "fail" "scsi0: fail completion p=0.05 status=busy"
lab_case "a disk that aborts commands now and then stays right" \
	disk_faults "fail" "scsi0: fail completion p=0.01 status=aborted"
lab_case "a disk whose completions change places stays right" \
	disk_faults "reorder" "scsi0: reorder window=8"
lab_case "a disk with malformed packets in between stays right" \
	disk_faults "malformed packet" "scsi0: malformed packet p=0.05"

churns_disk()
{
	cpus=4
	append=hv_storvsc.storvsc_vcpus_per_sub_channel=1
	disk_faults "subchannels churn" "scsi0: subchannels churn every 100ms"
}
lab_case "a disk whose sub-channels come and go in faults stays right" churns_disk

# net_faults PATTERN RULES: streams and pings get through.
net_faults()
{
	tap_network
	boot faults-net --nic "tap=$TAP" --trace vmbus=trace.pcapng --fault "seed=7; $2"
	expect_status 0
	expect 'bh: ping: 0'
	expect_both_ways 'with faults'
	expect 'bh: complaints: 0'
	expect_faults "$1" 10
}
lab_case "a NIC whose completions are delayed goes on in faults" \
	net_faults "delay" "nic0: delay 2ms p=0.05"
lab_case "a NIC whose completions fail goes on in faults" \
	net_faults "fail" "nic0: fail completion p=0.02"
lab_case "a NIC whose completions change places goes on in faults" \
	net_faults "reorder" "nic0: reorder window=4 p=0.2"
lab_case "a NIC with malformed packets in between goes on in faults" \
	net_faults "malformed packet" "nic0: malformed packet p=0.02"

churns_nic()
{
	cpus=4
	net_faults "subchannels churn" "nic0: subchannels churn every 100ms"
}
lab_case "a NIC whose sub-channels come and go in faults goes on" churns_nic

# Both leave in order, so that the drivers wait for nothing when they are pulled, and come back.
rescinds()
{
	local guest
	tap_network
	fresh_root
	tr '\0' 'g' </dev/zero | dd of=data.img bs=1M count=16 iflag=fullblock
	append="bh.rounds=$1"
	boot faults-rescind --nic "tap=$TAP" --trace vmbus=trace.pcapng \
		--fault "nic0: rescind every 2s times $1; scsi1: rescind every 2s times $1" &
	guest=$!
	wait_for 'bh: waits for a disk' console
	"$BULKHEAD" controller attach lab
	"$BULKHEAD" disk attach lab data.img --controller scsi1
	wait "$guest"
	"$BULKHEAD" trace show trace.pcapng | grep -E 'FAULT|RESCIND|OFFER' | tail -n 40 || true
	expect "bh: disk came: $(($1 + 1)) times"
	expect "bh: interface: $(($1 + 2))"
	expect 'bh: ping: 0'
	expect 'bh: reads a block: 0'
	expect 'bh: wrong data: 0'
	expect 'bh: writes blocks: 0'
	expect 'bh: writes a file: 0'
	expect 'bh: complaints: 0'
	expect_faults 'rescind nic0' "$1"
	expect_faults 'rescind scsi1' "$1"
}
lab_case "a NIC and a controller taken away and offered again by faults work on" rescinds 2
