# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # for the guest; of 90-daemon.sh
# A daemon that an ordinary user starts, who has no right but to /dev/kvm.

# by_user FILE PROGRAM: a script that runs the program as that user.
by_user()
{
	{
		printf '#!/bin/sh\nexport HOME=%q XDG_RUNTIME_DIR=%q\n' "$PWD/home" "$PWD/run"
		printf 'exec setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs '
		printf '%q "$@"\n' "$2"
	} >"$1"
	chmod 755 "$1"
}

# has_no_rights PID: it is of that user, and has no capabilities.
has_no_rights()
{
	cat "/proc/$1/status" >status
	grep -Eq '^Uid:.*[1-9]' status
	grep -Eq '^CapEff:.0+$' status
	reject '^Uid:.*\<0\>' status
}

serves_its_user()
{
	local worker
	outside_network
	mkdir home run state
	: >own.img
	chown 1000:1000 home run state own.img
	by_user bulkhead "$BULKHEAD"
	by_user vmms "$VMMS"
	BULKHEAD=$PWD/bulkhead VMMS=$PWD/vmms
	with_daemon
	"$BULKHEAD" host show | grep -E '^rootless +yes'
	[ -S run/bulkhead/vmms.sock ] || fail "its socket is not among the user's own"
	create own
	"$BULKHEAD" vm start own
	worker=$(of own worker)
	has_no_rights "$vmms"
	has_no_rights "$worker"
	ls -A "/proc/$worker/root" >root
	[ ! -s root ] || fail "the worker's root is not empty"
	until_ready own
	does own '. /bh/dhcp' \
		'fact name "$(nslookup -type=a host.example | sed -n "s/^Address: //p" | tail -n 1)"' \
		'echo kept >/kept; sync'
	says own 'bh: dhcp: 0'
	says own 'bh: name: 10.9.0.1'
	kill_daemon
	start_daemon
	[ "$(of own worker)" = "$worker" ]
	"$BULKHEAD" vm stop own 2>said
	expect 'own: waiting for the guest to shut down' said
	[ "$(of own reason)" = 'the guest powered off' ]
	end_daemon
	[ "$(debugfs -R 'cat /kept' own.img 2>/dev/null)" = kept ] || fail "its disk lost what it wrote"
	clean_network
}
lab_case "daemon: a user's own, without root" serves_its_user
