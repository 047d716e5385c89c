# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # for the guest; of ../lib.sh; of it
# The integration services, with stock drivers and the real daemons of a Linux guest.

# serve [OPTION...]: a guest with the services in the background; `finish` shuts it down.
serve()
{
	fresh_root
	boot services "$@" >ran 2>&1 &
	vm=$!
	# A case that fails leaves no guest behind.
	trap 'given_up' EXIT
	wait_for 'bh: services: up' console
	wait_for_state heartbeat 'heartbeat ok'
}

# given_up: what is known of a guest that did not come to its end, and none of it left.
given_up()
{
	"$BULKHEAD" service lab || true
	pkill -x bulkhead || true
	wait
	cat ran console
}

finish()
{
	"$BULKHEAD" shutdown lab
	wait "$vm"
	trap - EXIT
	cat ran
	expect 'bh: asked to poweroff'
	expect 'status 0' ran
}

service_line()
{
	"$BULKHEAD" service lab | grep "^$1 "
}

# wait_for_state SERVICE REGEX: until its line says so.
wait_for_state()
{
	local tries
	for ((tries = 0; tries < deadline * 2; tries++)); do
		! service_line "$1" 2>/dev/null | grep -Eq -- "$2" || return 0
		sleep 0.5
	done
	"$BULKHEAD" service lab
	fail "$1 does not say '$2'"
}

# refused WORDS COMMAND...: a verb that must fail with a sentence that has these words.
refused()
{
	local words=$1
	shift
	! "$BULKHEAD" "$@" 2>sentence || fail "bulkhead $* did not fail"
	cat sentence
	expect "$words" sentence
}

# guest_does WHAT: have the guest run a line of shell, and wait for its end.
guest_does()
{
	local before
	before=$(grep -c 'bh: task: done' console || true)
	printf '%s\n# end\n' "$1" >task
	"$BULKHEAD" copy-file lab task /tmp/task
	while [ "$(grep -c 'bh: task: done' console || true)" = "$before" ]; do
		sleep 0.2
	done
}

shuts_down()
{
	wait_for_state shutdown 'ready *3.2'
	refused 'refuses the request' shutdown lab --hibernate
	finish
}

negotiates()
{
	serve --integration "$1"
	local name version
	IFS=, read -ra wanted <<<"$1"
	for one in "${wanted[@]}"; do
		name=${one%=*} version=${one#*=}
		wait_for_state "$name" "ready *$version"
	done
	finish
}
lab_case "services: versions before the newest" negotiates \
	shutdown=3.0,timesync=3.0,heartbeat=1.0,kvp=3.0,vss=5.0,file-copy=1.1
lab_case "services: the first versions" negotiates \
	shutdown=1.0,timesync=1.0,heartbeat=1.0,kvp=1.0,vss=5.0,file-copy=1.1

tells_time()
{
	wait_for_state file-copy ready
	guest_does 'echo "bh: clock: $(date +%s)"'
	near_now
	"$BULKHEAD" pause lab
	sleep 8
	"$BULKHEAD" resume lab
	wait_for_state timesync 'syncs 2'
	guest_does 'echo "bh: clock: $(date +%s)"'
	near_now
	guest_does 'cat /sys/class/ptp/ptp0/clock_name'
	expect 'hyperv'
}

# near_now: what the guest last said of its clock is the host's time, or a little before.
near_now()
{
	local said now
	said=$(sed -n 's/.*bh: clock: \([0-9]*\).*/\1/p' console | tail -n 1)
	now=$(date +%s)
	echo "guest $said, host $now"
	((said <= now + 2 && said >= now - 6)) || fail "the guest's clock is $((now - said)) s behind"
}

# sets_an_address MAC: the guest's daemon runs a script of its distribution's, which Debian lacks.
sets_an_address()
{
	refused "it failed there" kvp set-ip lab "$1" --address 192.168.77.9/24
	cat >ifconfig <<-'END'
		#!/bin/sh
		. "$1"
		/bin/ip addr add "$IPADDR0/24" dev "$DEVICE"
		/bin/ip link set "$DEVICE" up
		echo "bh: set: $DEVICE $IPADDR0 $NETMASK0" >/dev/console
	END
	"$BULKHEAD" copy-file lab ifconfig /tmp/ifconfig
	guest_does 's=/usr/libexec/hypervkvpd/hv_set_ifconfig; cat /tmp/ifconfig >$s; chmod 755 $s'
	"$BULKHEAD" kvp set-ip lab "$1" --address 192.168.77.9/24
	expect 'bh: set: eth0 192.168.77.9 255.255.255.0'
	ping -c 3 -W 5 192.168.77.9
	"$BULKHEAD" kvp get-ip lab "$1" >told
	cat told
	expect '192.168.77.9' told
}

exchanges()
{
	wait_for_state kvp 'ready *4.0'
	"$BULKHEAD" kvp list lab >items
	cat items
	expect '^OSName=' items
	expect '^IntegrationServicesVersion=3.1' items
	expect '^FullyQualifiedDomainName=lab-guest.example' items
	expect '^ProcessorArchitecture=x86_64' items
	expect '^OSBuildNumber=6' items
	[ "$("$BULKHEAD" kvp get lab OSName)" = Linux ] || fail "not a Linux"
	"$BULKHEAD" kvp set lab colour 'grün und 🐧'
	"$BULKHEAD" kvp set lab number 4000000000 --type u32
	"$BULKHEAD" kvp set lab colour 'blau und 🐧'
	[ "$("$BULKHEAD" kvp get lab colour --pool external)" = 'blau und 🐧' ]
	[ "$("$BULKHEAD" kvp get lab number --pool external)" = 4000000000 ]
	[ "$("$BULKHEAD" kvp list lab --pool external | wc -l)" = 2 ]
	[ -z "$("$BULKHEAD" kvp list lab --pool guest)" ]
	wait_for_state file-copy ready
	guest_does 'tr "\\0" "\\n" </var/lib/hyperv/.kvp_pool_0 | grep .; echo'
	expect 'blau und'
	"$BULKHEAD" kvp remove lab colour
	refused 'there is no such item' kvp remove lab colour
	refused 'there is no such item' kvp get lab colour --pool external
	refused 'too long' kvp set lab long "$(printf '%01023d' 7)"
	refused 'too long' kvp set lab "$(printf '%0255d' 7)" short
	"$BULKHEAD" kvp set lab long "$(printf '%01022d' 7)"
	[ "$("$BULKHEAD" kvp get lab long --pool external)" = "$(printf '%01022d' 7)" ]
	guest_does 'modprobe hv_netvsc'
	refused 'no network adapter' kvp set-ip lab f8b3781a-1e82-4818-a1c3-63d806ec15bb --dhcp
	sets_an_address "$1"
}

ticks()
{
	grep -c 'bh: tick' console || true
}

freezes()
{
	wait_for_state vss 'ready *5.0'
	wait_for_state file-copy ready
	guest_does '(while :; do date >/root/tick; sync; echo "bh: tick"; sleep 0.3; done) &'
	wait_for 'bh: tick' console
	"$BULKHEAD" vss freeze lab
	service_line vss | grep 'frozen'
	sleep 2
	local frozen
	frozen=$(ticks)
	sleep 4
	[ "$(ticks)" = "$frozen" ] || fail "the guest wrote while it was frozen"
	"$BULKHEAD" vss thaw lab
	wait_for_more "$frozen"
	service_line vss | grep 'thawed'
	# Nobody comes back to thaw this one.
	"$BULKHEAD" vss freeze lab --timeout 4
	frozen=$(ticks)
	wait_for_state vss 'expired 1'
	wait_for_more "$frozen"
	# One that is held ends with whoever holds it, however that ends.
	"$BULKHEAD" vss freeze lab --hold --timeout 600 >held &
	local holder=$!
	wait_for 'frozen' held
	service_line vss | grep 'frozen'
	refused 'frozen already' vss freeze lab
	frozen=$(ticks)
	kill -KILL "$holder"
	wait_for_more "$frozen"
	wait_for_state vss 'thawed.*expired 1'
}

wait_for_more()
{
	while [ "$(ticks)" -le $(($1 + 1)) ]; do
		sleep 0.3
	done
}

# copies LEFT: what the guest has of a file that it had no room for.
copies()
{
	wait_for_state file-copy 'ready *1.1'
	head -c 1000001 /dev/urandom >noise
	: >empty
	"$BULKHEAD" copy-file lab noise /tmp/deep/er/noise --create-path
	"$BULKHEAD" copy-file lab empty /tmp/empty
	guest_does 'sha256sum </tmp/deep/er/noise; [ -e /tmp/empty ] && echo "bh: empty is there"'
	expect "$(sha256sum <noise | cut -d ' ' -f 1)"
	expect 'bh: empty is there'
	refused 'exists there already' copy-file lab empty /tmp/deep/er/noise
	"$BULKHEAD" copy-file lab empty /tmp/deep/er/noise --overwrite
	refused 'refuses the copy' copy-file lab noise /tmp/nowhere/noise
	refused 'refuses the copy' copy-file lab noise /proc/noise
	refused 'regular file' copy-file lab /dev/null /tmp/null
	refused 'check the path' copy-file lab ./missing /tmp/missing
	# No room: nothing of it stays, and the next copy works.
	guest_does 'mkdir /tmp/small; mount -t tmpfs -o size=256k tmpfs /tmp/small'
	# A write that fits in part is a failure like any other to the guest's daemon.
	refused 'refuses the copy' copy-file lab noise /tmp/small/noise
	guest_does 'echo "bh: left: $(stat -c %s /tmp/small/noise 2>/dev/null || echo nothing)"'
	expect "bh: left: $1"
	"$BULKHEAD" copy-file lab task /tmp/small/task
	guest_does 'mkdir /tmp/ro; mount -t tmpfs -o ro tmpfs /tmp/ro'
	refused 'refuses the copy' copy-file lab task /tmp/ro/other
}

# The clock comes first, for its messages are counted; the freeze leaves a guest that writes on.
serves()
{
	local mac=00:15:5d:aa:bb:cc
	kernel=$1
	make_tap
	serve --nic "tap=$TAP,mac=$mac"
	tells_time
	passed
	exchanges $mac
	passed
	copies "$2"
	passed
	freezes
	passed
	shuts_down
	clean_network
}
for linux in "6.12 6.12-cloud 0" "6.1 cloud nothing"; do
	read -r version flavour left <<<"$linux"
	lab_cases serves "$flavour" "$left" -- \
		"services: the clock is set at boot and after a pause ($version)" \
		"services: key-value exchange ($version)" "services: files are copied ($version)" \
		"services: freeze and thaw ($version)" "services: shutdown ($version)"
done

restarts()
{
	"$BULKHEAD" shutdown lab --restart
	wait "$vm"
	trap - EXIT
	cat ran
	expect 'bh: asked to reboot'
	expect 'status 3' ran
}

lacks_daemons()
{
	append=bh.daemons=none
	serve
	wait_for_state shutdown 'ready'
	refused 'does not answer yet' kvp list lab
	refused 'refuses the freeze|does not answer yet' vss freeze lab
	refused 'no driver' copy-file lab vmm /tmp/vmm
	passed
	restarts
}
lab_cases lacks_daemons -- "services: a guest without daemons" "services: restart"
