# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # for the guest; of ../lib.sh; of it
# The daemon with stock guests: their lives, what comes and goes while they run, and what is killed.

VMMS=$(dirname "$BULKHEAD")/bulkhead-vmms
patience=200	# seconds that a guest may take for what is asked of it

# start_daemon: and wait until it answers.
start_daemon()
{
	"$VMMS" --state "$PWD/state" --no-journal 2>>daemon &
	vmms=$!
	until "$BULKHEAD" host show >/dev/null 2>&1; do
		kill -0 "$vmms" || fail "the daemon ended: $(cat daemon)"
		sleep 0.1
	done
}

# with_daemon: the same; a case that fails leaves nothing behind.
with_daemon()
{
	trap daemon_given_up EXIT
	start_daemon
}

kill_daemon()
{
	kill -KILL "$vmms"
	wait "$vmms" || true
}

daemon_given_up()
{
	local name
	set +e
	echo "--- what is known"
	cat daemon
	"$BULKHEAD" events --history 100
	nft list ruleset
	head /proc/sys/net/ipv4/conf/*/forwarding
	for name in $(names); do
		"$BULKHEAD" vm show "$name"
		echo "--- console of $name"
		console_of "$name"
		"$BULKHEAD" vm stop --turn-off "$name"
	done
	leave
	busybox umount small 2>/dev/null || true
	clean_network
}

# leave: nothing runs on in the background.
leave()
{
	jobs -p | xargs -r kill -KILL 2>/dev/null || true
	wait
}

end_daemon()
{
	kill "$vmms"
	wait "$vmms"
	trap leave EXIT
	cat daemon
}

names()
{
	"$BULKHEAD" complete vms
}

# of NAME MEMBER: what `vm show` says of a VM.
of()
{
	"$BULKHEAD" vm show "$1" --json | sed -nE "s/^ {4}\"$2\": \"?([^\"]*[^\",])\"?,?\$/\1/p"
}

# create NAME [OPTION...]: a VM whose guest serves, with a disk of its own.
create()
{
	local name=$1
	shift
	cp --sparse=always "$IMAGES/root.img" "$name.img"
	"$BULKHEAD" vm create "$name" --cpus 2 --memory "$memory" --kernel "$IMAGES/$kernel/vmlinuz" \
		--initrd "$IMAGES/$kernel/initrd.img" \
		--append "console=ttyS0 quiet panic=-1 bh.test=services $append" --disk "$name.img" "$@"
}

console_of()
{
	"$BULKHEAD" vm console "$1" --read-only --no-follow 2>/dev/null
}

# comes WHAT COMMAND...: wait until the command does well.
comes()
{
	local what=$1 end=$((SECONDS + patience))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "$what"
		sleep 0.3
	done
}

has_said()
{
	console_of "$1" | grep -Eq -- "$2"
}

# says NAME REGEX: wait until the guest has said it on its console.
says()
{
	comes "$1 does not say '$2'" has_said "$1" "$2"
}

can_copy()
{
	"$BULKHEAD" service "$1" 2>/dev/null | grep -q '^file-copy *ready'
}

# until_ready NAME: its guest can be driven.
until_ready()
{
	comes "$1 does not get ready" can_copy "$1"
}

has_done()
{
	console_of "$1" | sed -n "/bh: does $2\r*\$/,\$p" | grep -q 'bh: task: done'
}

# does NAME LINE...: have the guest run lines of shell, and wait for their end.
tasks=0
does()
{
	local name=$1
	shift
	tasks=$((tasks + 1))
	printf '%s\n' "$@" "echo 'bh: does $tasks'" '# end' >task
	"$BULKHEAD" copy-file "$name" task /tmp/task
	comes "$name does not do $*" has_done "$name" $tasks
}

# limited WEIGHT: what the cgroup of web's processes, the worker's among them, allows.
limited()
{
	local group
	group=/sys/fs/cgroup/bulkhead/$(of web uuid)
	grep -x "$(of web worker)" "$group/cgroup.procs"
	tail -n 3 "$group"/{cpu.weight,cpu.max,memory.max}
	[ "$(cat "$group/cpu.weight")" = "$1" ]
	[ "$(cat "$group/cpu.max")" = '150000 100000' ]
	[ "$(cat "$group/memory.max")" = $((1 << 30)) ]
}

# confined: what web's worker is to the host.
confined()
{
	local worker name
	worker=$(of web worker)
	"$BULKHEAD" vm inspect web >tree
	for name in user capabilities user-namespace pid-namespace namespaces root landlock seccomp; do
		expect "^ *$name: yes" tree
	done
	grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' "/proc/$worker/status" >status
	cat status
	reject '^[UG]id:.*\<0\>' status
	reject '^Cap...:.*[1-9a-f]' status
	expect '^NoNewPrivs:.1' status
	expect '^Seccomp:.2' status
	for name in user pid net ipc uts cgroup mnt; do
		[ "$(readlink "/proc/$worker/ns/$name")" != "$(readlink "/proc/self/ns/$name")" ] ||
			fail "the worker shares the $name namespace"
	done
	[ -z "$(ls -A "/proc/$worker/root")" ] || fail "the worker's root is not empty"
}

lives()
{
	local controllers='[ $(ls -d /sys/class/scsi_disk/*:0:0:0 | wc -l)'
	with_daemon
	create web --cpu-weight 200 --cpu-cap 150 --memory-max 1G
	"$BULKHEAD" vm start web
	[ "$("$BULKHEAD" vm wait web --state running)" = running ]
	"$BULKHEAD" vm list >told
	cat told
	expect '^web +running ' told
	limited 200
	"$BULKHEAD" vm set web --cpu-weight 300
	limited 300
	until_ready web

	# A disk, a NIC and a controller with its disk come, and go.
	truncate -s 16M more.img other.img
	"$BULKHEAD" disk attach web more.img
	"$BULKHEAD" nic attach web switch
	[ "$("$BULKHEAD" controller attach web)" = scsi1 ]
	"$BULKHEAD" disk attach web other.img --controller scsi1
	does web '. /bh/lib' 'disk=$(lun 1)' 'echo "bh: size: $(cat /sys/block/${disk##*/}/size)"' \
		'echo written here | dd of=$disk bs=512 conv=sync,fsync 2>/dev/null' \
		'. /bh/dhcp' 'echo "bh: NICs: $(ls -d /sys/class/net/eth? | wc -l)"' \
		"until $controllers = 2 ]; do usleep 50000; done" 'echo "bh: both have a disk"'
	says web 'bh: both have a disk'
	says web 'bh: size: 32768'
	says web 'bh: dhcp: 0'
	says web 'bh: NICs: 2'
	confined
	[ "$(head -n 1 more.img | tr -d '\0')" = 'written here' ]
	"$BULKHEAD" disk detach web 1
	"$BULKHEAD" nic detach web nic1
	does web 'while [ -d /sys/class/scsi_disk/0:0:0:1 ]; do usleep 50000; done' \
		'while [ -d /sys/class/net/eth1 ]; do usleep 50000; done' 'echo "bh: both are gone"'
	"$BULKHEAD" kvp list web >items
	cat items
	expect '^NetworkAddressIPv4=.*10\.213\.' items

	# Paused it is not asked to shut down.
	"$BULKHEAD" vm pause web
	[ "$(of web state)" = paused ]
	refused 'resume it' vm stop web
	"$BULKHEAD" vm resume web
	[ "$(of web state)" = running ]

	"$BULKHEAD" vm restart web 2>said
	cat said
	expect 'web: waiting for the guest to shut down' said
	expect 'web: waiting for the VM to start' said
	until_ready web

	# The controller was there from this start; it goes when its disk has gone.
	does web "$controllers = 2 ] && echo 'bh: both are there'"
	says web 'bh: both are there'
	refused 'detach them first' controller detach web scsi1
	"$BULKHEAD" disk detach web 0 --controller scsi1
	"$BULKHEAD" controller detach web scsi1
	does web "until $controllers = 1 ]; do usleep 50000; done" 'echo "bh: one is left"'
	says web 'bh: one is left'

	"$BULKHEAD" vm stop web 2>said
	cat said
	expect 'web: waiting for the guest to shut down' said
	[ "$(of web state)" = off ]
	[ "$(of web reason)" = 'the guest powered off' ]
	"$BULKHEAD" vm remove web
	end_daemon
}
long=yes lab_case "daemon: a guest's life, its disks, NICs and services" lives

# ticks_on: the guest has told each number on its console, from the first to the last.
ticks_on()
{
	console_of web | sed -n 's/.*bh: tick \([0-9]*\).*/\1/p' >ticks
	wc -l ticks
	awk '$1 != NR { exit 1 } END { exit NR < 10 }' ticks ||
		fail "the guest's ticks are not whole: $(tail -n 5 ticks)"
}

# has_happened EVENT: ./told has all events of the daemon's.
has_happened()
{
	"$BULKHEAD" events --history 1000 >told && grep -q "\"event\":\"$1\"" told
}

survives()
{
	local worker round load='--size=12M --bs=64k --rw=randwrite --rate=2M --verify=crc32c'
	load+=' --direct=1 --ioengine=libaio --iodepth=8 --output=/tmp/fio'
	mkdir small
	mount -t tmpfs -o size=8m tmpfs small
	truncate -s 64M small/data.img
	with_daemon
	create web --disk small/data.img --on-crash restart,delay=1 --no-nic
	"$BULKHEAD" vm start web
	until_ready web
	does web '(i=0; while :; do i=$((i + 1)); echo "bh: tick $i"; sleep 0.5; done) &' \
		'. /bh/lib' "(fio --name=load --filename=\$(lun 1) $load; echo \"bh: fio: \$?\") &"
	worker=$(of web worker)

	# The daemon is killed under load, and again when the host's disk is full.
	for round in 1 2 3; do
		kill_daemon
		start_daemon
	done
	"$BULKHEAD" vm wait web --state paused
	kill_daemon
	start_daemon
	[ "$(of web state)" = paused ]
	expect 'no room .*small/data.img' <(of web reason)
	mount -o remount,size=80m small
	"$BULKHEAD" vm resume web
	says web 'bh: fio: 0'
	[ "$(of web worker)" = "$worker" ] || fail "it has another worker"
	ticks_on

	# The worker is killed, and the VM is started again by itself.
	kill -KILL "$worker"
	comes 'it is not started again' has_happened restart-scheduled
	cat told
	expect '"off_after_crash","from":"running","reason":".*signal 9' told
	until_ready web
	[ "$(of web worker)" != "$worker" ] || fail "it is not another worker"
	"$BULKHEAD" vm stop web
	end_daemon
	umount small
}
long=yes lab_case "daemon: killed, a worker killed and a full disk under fio" survives

# in_guests LINE...: have both guests do that.
in_guests()
{
	does alpha "$@"
	does beta "$@"
}

address_of()
{
	"$BULKHEAD" kvp get "$1" NetworkAddressIPv4
}

has_network()
{
	local first second
	outside_network
	nft add table inet others
	nft add chain inet others forward '{ type filter hook forward priority 0; }'
	nft list ruleset >rules
	with_daemon
	create alpha
	create beta
	"$BULKHEAD" vm start alpha
	"$BULKHEAD" vm start beta
	until_ready alpha
	until_ready beta
	in_guests '. /bh/dhcp' \
		'fact name "$(nslookup -type=a host.example | sed -n "s/^Address: //p" | tail -n 1)"' \
		'ping -c 3 -W 5 10.9.0.1' 'fact outside $?'
	first=$(address_of alpha) second=$(address_of beta)
	echo "$first $second"
	does alpha "ping -c 3 -W 5 $second" 'echo "bh: beta: $?"' '. /bh/lib; . /bh/net-lib; complaints'
	does beta "ping -c 3 -W 5 $first" 'echo "bh: alpha: $?"'
	ping -c 3 -W 5 "$first"
	for name in alpha beta; do
		console_of $name >$name.console
		cat $name.console
		expect 'bh: dhcp: 0' $name.console
		expect 'bh: name: 10.9.0.1' $name.console
		expect 'bh: outside: 0' $name.console
	done
	expect 'bh: beta: 0' alpha.console
	expect 'bh: complaints: 0' alpha.console
	expect 'bh: alpha: 0' beta.console
	nft list ruleset
	ip addr
	"$BULKHEAD" vm stop alpha
	"$BULKHEAD" vm stop beta
	end_daemon
	nft list ruleset | diff rules -
	ip link >links
	reject 'bulkhead|bhtap' links
	! busybox pidof dnsmasq || fail "a dnsmasq is left"
	clean_network
}
long=yes lab_case "daemon: two guests on the default switch" has_network

# tries CALL [ARG]...: a worker that was taken over makes a system call that would lead out.
tries()
{
	"$BULKHEAD" vm start captive
	"$LAB/inject" "$(of captive worker)" "$@" >came
	echo "$*: $(cat came)"
	expect 'killed by signal 31' came
	"$BULKHEAD" vm wait captive --state off-after-crash
	expect 'a system call its sandbox forbids' <(of captive reason)
}

gets_nowhere()
{
	with_daemon
	"$BULKHEAD" vm create captive --kernel "$LAB/../../build/guest/payload-idle.elf" --memory 16M \
		--no-nic
	tries openat -100 /etc/shadow 0
	tries socket 2 1 0
	tries execve /bin/sh 0 0
	tries fork
	tries kill -1 9
	tries ptrace 16 1
	tries process_vm_readv 1
	tries mount none / tmpfs 0
	tries unshare 0x10000000
	tries bpf 5
	tries io_uring_setup 8
	"$BULKHEAD" vm start captive
	[ "$("$LAB/inject" "$(of captive worker)" getpid)" = 1 ] || fail "it sees other processes"
	"$BULKHEAD" vm wait captive --state off-after-crash
	end_daemon
}
lab_case "daemon: a worker that was taken over gets nowhere" gets_nowhere
