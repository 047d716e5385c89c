# shellcheck shell=bash
# What the lab's cases share. A case runs in an empty directory in memory; a command that fails
# ends it.

memory=512M		# of the guests, and the number of their VPs
cpus=2
append=			# more kernel parameters
kernel=6.12-cloud	# the guests', a directory of the images
deadline=300		# seconds that one run may take
status=			# of the last run

fail()
{
	echo "lab: $*"
	exit 1
}

# passed: one of the cases that share this guest; what follows belongs to the next.
passed()
{
	echo "--- passed"
	echo "$SECONDS" >>/dev/shm/case/passed
}

# fresh_root: a root disk of the case's own.
fresh_root()
{
	cp --sparse=always "$IMAGES/root.img" root.img
}

# run [OPTION...]: `bulkhead run`, under a deadline; its status in $status, its words in ./vmm.
run()
{
	status=0
	timeout --kill-after=5 "$deadline" "$BULKHEAD" run --name lab --cpus "$cpus" \
		--memory "$memory" "$@" >vmm 2>&1 </dev/null || status=$?
	echo "--- bulkhead run --cpus $cpus --memory $memory $*: status $status"
	cat vmm
}

# boot SCRIPT[,SCRIPT...] [OPTION...]: boot the root disk, whose init runs the scripts. A reset that
# the case does not want ends the run. The console is in ./console.
boot()
{
	local script=$1
	shift
	[ -e root.img ] || fresh_root
	rm -f console
	run --kernel "$IMAGES/$kernel/vmlinuz" --initrd "$IMAGES/$kernel/initrd.img" \
		--append "console=ttyS0 quiet panic=-1 bh.test=$script $append" \
		--console "file:$PWD/console" --on-reset exit --disk root.img "$@"
	echo "--- console"
	cat console || true
}

expect_status()
{
	[ "$status" -eq "$1" ] || fail "the run ended with status $status, not $1"
}

# expect REGEX [FILE], reject REGEX [FILE]: what the console must and must not say.
expect()
{
	grep -Eq -- "$1" "${2:-console}" || fail "'$1' is not in ${2:-console}"
}

reject()
{
	! grep -E -- "$1" "${2:-console}" || fail "'$1' is in ${2:-console}"
}

# part SCRIPT: what the console has of that script of several, in ./part.
part()
{
	sed -n "/bh: $1 begins/,/bh: $1 ended with/p" console >part
	[ -s part ] || fail "$1 was not run"
}

# outside_agrees IMAGE: the small pieces that the guest's fio wrote from 32 MiB on are in the image, seen
# from outside.
outside_agrees()
{
	fio --name=outside --filename="$1" --verify=crc32c --verify_only --rw=randwrite --bs=4k \
		--size=8M --offset=32M --ioengine=psync --randseed=7 --minimal
}

# wait_for REGEX FILE: until a guest running in the background has said it.
wait_for()
{
	local tries
	for ((tries = 0; tries < deadline * 5; tries++)); do
		! grep -Eqs -- "$1" "$2" || return 0
		sleep 0.2
	done
	fail "'$1' did not come in $2"
}
