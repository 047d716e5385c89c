# shellcheck shell=bash disable=SC2016 # for the guest
# The daemon as the README has systemd run it. What drives guests is in 90-daemon.sh.

box()
{
	"$LAB/systemd_box" "$@"
}

# on_host COMMAND...: on the host that systemd manages.
on_host()
{
	box run "$@"
}

given_up()
{
	set +e
	on_host journalctl --no-pager --boot | tail -n 40
	console_of web
	box end
}

# installed_host: as the README says, and a CLI that speaks with its daemon.
installed_host()
{
	trap given_up EXIT
	box start "$LAB/../../build/installed/usr/local"
	on_host systemd-sysusers
	on_host systemd-tmpfiles --create --prefix=/run/bulkhead --prefix=/var/lib/bulkhead
	on_host systemctl daemon-reload
	on_host systemctl enable --now bulkhead-vmms bulkhead-guests
	printf '#!/bin/sh\nexec %q run /usr/local/bin/bulkhead "$@"\n' "$LAB/systemd_box" >bulkhead
	chmod 755 bulkhead
	BULKHEAD=$PWD/bulkhead
}

answers()
{
	"$BULKHEAD" host show >/dev/null 2>&1
}

# has_weight N: systemd holds the VM's scope to it.
has_weight()
{
	[ "$(on_host systemctl show --property=CPUWeight --value "$scope")" = "$1" ]
}

# same_worker: it runs on, in its scope.
same_worker()
{
	[ "$(of web state)" = running ]
	[ "$(of web worker)" = "$worker" ]
	on_host grep -q "/$scope\$" "/proc/$worker/cgroup"
}

# as USER:GROUP COMMAND...
as()
{
	local who=$1
	shift
	on_host setpriv --reuid="${who%:*}" --regid="${who#*:}" --clear-groups -- "$@"
}

managed_by_systemd()
{
	local worker scope
	installed_host
	"$BULKHEAD" host show | grep 'each VM has a scope of systemd'
	create web --no-nic --cpu-weight 200
	"$BULKHEAD" vm start web
	worker=$(of web worker)
	scope=$(on_host systemctl list-units --type=scope --plain --no-legend 'bulkhead-*' |
		cut -d ' ' -f 1)
	same_worker
	has_weight 200
	"$BULKHEAD" vm set web --cpu-weight 300
	comes "its scope has no other weight" has_weight 300
	until_ready web
	does web 'printf "#!/bin/sh\necho in order >/ended\nsync\n/bin/poweroff -f\n" >/sbin/poweroff'

	# The daemon killed, and then stopped: the VM runs on, and who asks for it finds it.
	on_host systemctl kill --signal=KILL bulkhead-vmms
	comes "systemd does not start the daemon again" answers
	same_worker
	on_host systemctl stop bulkhead-vmms.service
	on_host kill -0 "$worker"
	answers || fail "the socket does not start the daemon"
	same_worker

	# Only root and the group see it, and may end it.
	as 65534:65534 /usr/local/bin/bulkhead vm list >said 2>&1
	reject web said
	! as 65534:65534 /usr/local/bin/bulkhead vm stop --turn-off web || fail "anybody may end VMs"
	same_worker
	as 65534:bulkhead /usr/local/bin/bulkhead vm list | grep -E '^web +running'
	on_host journalctl --no-pager --boot | grep 'bulkhead.*StartVM.*web'

	# The host goes down: the guest is shut down first.
	box stop
	trap - EXIT
	[ "$(debugfs -R 'cat /ended' web.img 2>/dev/null)" = 'in order' ] ||
		fail "the guest was not shut down"
}
long=yes lab_case "daemon: under systemd, from its start to the host's end" managed_by_systemd
