# shellcheck shell=bash disable=SC2016,SC2034 # what the guest expands; settings of ../lib.sh
# Dynamic memory: the stock hv_balloon at work. The guests are those of 60-integration.sh, so that they
# can be told what to do.

pressure='hv_balloon.pressure_report_delay=0 memhp_default_state=online'

# serve_memory SETTING [OPTION...]: a guest with that --memory and its balloon driver.
serve_memory()
{
	memory=$1
	append=$pressure
	cpus=1
	shift
	deadline=600
	# What the guest's memory holds is looked at in small pages, as most hosts have them.
	echo never >/sys/kernel/mm/transparent_hugepage/shmem_enabled
	fresh_root
	boot services "$@" >ran 2>&1 &
	vm=$!
	# A case that fails leaves no guest behind.
	trap 'given_up' EXIT
	wait_for 'bh: services: up' console
	wait_for_state heartbeat 'heartbeat ok'
	wait_for_state file-copy ready
	told 'modprobe hv_balloon; dmesg | grep -i "dynamic memory\|cold memory" >/dev/console'
	wait_memory state '"ready"'
}

# told WHAT: have the guest run a line of shell, and wait for its end, or the guest's.
told()
{
	local before
	before=$(grep -c 'bh: task: done' console || true)
	printf '%s\n# end\n' "$1" >task
	"$BULKHEAD" copy-file lab task /tmp/task >&2
	while [ "$(grep -c 'bh: task: done' console || true)" = "$before" ]; do
		kill -0 "$vm" || fail "the guest is gone"
		sleep 0.2
	done
}

# memory_is KEY: what the VMM says of it.
memory_is()
{
	"$BULKHEAD" memory show lab --json | sed -n "s/^ *\"$1\": \(.*[^,]\),*$/\1/p"
}

# wait_until SENTENCE COMMAND [ARGUMENT...]: until the command succeeds; the sentence says what is wrong
# if it never does.
wait_until()
{
	local sentence=$1 tries
	shift
	for ((tries = 0; tries < 600; tries++)); do
		! "$@" || return 0
		sleep 0.5
	done
	"$BULKHEAD" memory show lab
	fail "$sentence"
}

memory_matches()
{
	memory_is "$1" | grep -Eqx -- "$2"
}

memory_at_most()
{
	[ "$(memory_is "$1")" -le $(($2 << 20)) ]
}

memory_at_least()
{
	[ "$(memory_is "$1")" -ge $(($2 << 20)) ]
}

# wait_memory KEY REGEX: until it is that.
wait_memory()
{
	wait_until "$1 is not '$2'" memory_matches "$@"
}

# wait_below KEY MIB, wait_above KEY MIB: until it is at most, or at least, so many MiB.
wait_below()
{
	wait_until "$1 stays above $2 MiB" memory_at_most "$@"
}

wait_above()
{
	wait_until "$1 stays below $2 MiB" memory_at_least "$@"
}

# held: the MiB that the host has given the guest's memory, by the blocks of its memfd.
held()
{
	local pid fd
	pid=$(pgrep -x bulkhead-vmwp)
	for fd in /proc/"$pid"/fd/*; do
		case $(readlink "$fd") in
		*memfd:guest-ram*)
			echo $(($(stat -L -c %b "$fd") / 2048))
			return
			;;
		esac
	done
	fail "no guest memory is found"
}

# The same by the worker's page tables: what it alone has of it.
proportion()
{
	sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' /proc/"$(pgrep -x bulkhead-vmwp)"/smaps_rollup
}

held_at_most()
{
	[ "$(held)" -le "$1" ]
}

# wait_held MIB: until the host has no more than that in the guest's memory.
wait_held()
{
	wait_until "the guest's memory holds more than $1 MiB" held_at_most "$1"
}

fill='mount -t tmpfs -o size=90% none /mnt; dd if=/dev/zero of=/mnt/fill bs=1M count='
# What is read back is what was written.
check='dd if=/dev/urandom of=/mnt/check bs=1M count=10; sha256sum </mnt/check >/tmp/sum
	dd if=/dev/zero of=/mnt/more bs=1M count=100; rm /mnt/more
	sha256sum </mnt/check | cmp - /tmp/sum && echo bh: sums agree >/dev/console'

total()
{
	told 'sed -n "s/^MemTotal: *\([0-9]*\) kB/bh: total: \1 end/p" /proc/meminfo >/dev/console'
	sed -n 's/.*bh: total: \([0-9]*\) end.*/\1/p' console | tail -n 1
}

# balloons PROTOCOL: the guest has begun with 512 MiB, and has them again in the end.
balloons()
{
	local before after first
	expect "Using Dynamic Memory protocol version $1"
	reject 'Cold memory discard hint enabled'
	# Once used, all of it is the host's to give.
	told "${fill}300; rm /mnt/fill; umount /mnt"
	first=$(total)
	before=$(held)
	echo "held $before MiB, Pss $(proportion) KiB, the guest has $first KiB"
	[ "$before" -ge 330 ] || fail "300 MiB were filled, and $before MiB are held"
	"$BULKHEAD" memory set lab --target 256M
	wait_memory assigned $((256 << 20))
	after=$(held)
	echo "held $after MiB, Pss $(proportion) KiB, the guest has $(total) KiB"
	[ "$after" -le 256 ] || fail "the guest has 256 MiB, and $after MiB are held"
	[ "$(total)" -le $((first - 255 * 1024)) ] || fail "the guest has no less than before"
	"$BULKHEAD" memory set lab --target 512M
	wait_memory assigned $((512 << 20))
	[ "$(total)" -eq "$first" ] || fail "the guest has $(total) KiB, not $first"
	# What came back can be used, with what it is used for.
	told "${fill}200; $check"
	expect 'bh: sums agree'
	[ "$(held)" -gt "$after" ] || fail "nothing was used"
	"$BULKHEAD" memory show lab
	[ "$(memory_is rejected)" = 0 ] || fail "ranges were rejected"
	[ "$(memory_is unexpected)" = 0 ] || fail "messages were dropped"
}

# older_balloons KERNEL PROTOCOL
older_balloons()
{
	kernel=$1
	serve_memory startup=512M,min=192M,reporting=off,protocol="$2"
	balloons "$2"
	finish
}
lab_case "the balloon takes memory and gives it back, protocol 0.3" older_balloons 6.12-cloud 0.3
lab_case "the balloon with protocol 1.0, in Linux 6.1" older_balloons cloud 1.0

pressure_moves_the_target()
{
	serve_memory startup=512M,min=160M,reporting=off
	# Idle: it needs far less than it began with.
	wait_below assigned 330
	echo "held $(held) MiB"
	# In need, by and by, for the host hears of it once a second.
	told 'mount -t tmpfs -o size=90% none /mnt
		for i in $(seq 12); do
			dd if=/dev/zero of=/mnt/$i bs=1M count=20 2>/dev/null; sleep 1.2
		done'
	wait_above assigned 420
	"$BULKHEAD" memory show lab
	told 'rm /mnt/*'
	wait_below assigned 330
	finish
}
lab_case "a guest's pressure moves its memory" pressure_moves_the_target

# hot_adds START: the guest has begun with so many MiB, and has them again in the end.
hot_adds()
{
	local first second
	first=$(total)
	"$BULKHEAD" memory set lab --target "$(($1 + 384))M"
	wait_memory assigned $((($1 + 384) << 20))
	second=$(total)
	echo "the guest had $first KiB, and has $second KiB"
	[ "$second" -ge $((first + 380 * 1024)) ] || fail "the guest has $second KiB"
	told "echo bh: uses what was added >/dev/console; ${fill}$(($1 + 66)); $check"
	sed '1,/bh: uses what was added/d' console >part
	expect 'bh: sums agree' part
	[ "$(held)" -ge $(($1 + 66)) ] || fail "only $(held) MiB are held"
	"$BULKHEAD" memory show lab
	# And it is taken as well as any other.
	told 'umount /mnt'
	"$BULKHEAD" memory set lab --target "$1M"
	wait_memory assigned $(($1 << 20))
	[ "$(held)" -le "$1" ] || fail "$(held) MiB are held"
	"$BULKHEAD" inspect lab >/dev/null
}

# A reset takes what was added and gives what was taken.
starts_anew()
{
	"$BULKHEAD" memory set lab --target 640M
	wait_memory assigned $((640 << 20))
	"$BULKHEAD" memory set lab --auto
	"$BULKHEAD" shutdown lab --restart
	while [ "$(grep -c 'bh: services: up' console)" -lt 2 ]; do
		sleep 0.5
	done
	wait_for_state heartbeat 'heartbeat ok'
	wait_for_state file-copy ready
	wait_memory assigned $((512 << 20))
	wait_memory added 0
	told 'modprobe hv_balloon'
	wait_memory state '"ready"'
	"$BULKHEAD" memory set lab --target 640M
	wait_memory assigned $((640 << 20))
}

takes_gives_and_adds()
{
	serve_memory startup=512M,min=192M,max=1G,reporting=off --on-reset restart
	"$BULKHEAD" memory set lab --target 512M
	wait_memory assigned $((512 << 20))
	balloons 2.0
	passed
	told 'umount /mnt'
	hot_adds 512
	passed
	starts_anew
	finish
}
long=yes lab_cases takes_gives_and_adds -- \
	"the balloon takes memory and gives it back, protocol 2.0" "memory is added to a running guest" \
	"a reset begins with the memory of the start"

adds_to_older()
{
	kernel=cloud
	serve_memory startup=384M,max=1G,reporting=off
	hot_adds 384
	finish
}
lab_case "memory is added to Linux 6.1" adds_to_older

reports_free_pages()
{
	local full
	serve_memory startup=512M
	expect 'Cold memory discard hint enabled'
	told "${fill}300"
	full=$(held)
	told 'umount /mnt'
	# The guest reports what has been free for two seconds.
	wait_held $((full - 250))
	echo "held $full MiB, and then $(held) MiB"
	"$BULKHEAD" memory show lab
	wait_above discarded 250
	finish
}
lab_case "free pages are reported and go back to the host" reports_free_pages
