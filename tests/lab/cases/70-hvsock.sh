# shellcheck shell=bash disable=SC2034 # append and deadline are settings of ../lib.sh
# Sockets between host and guest, through the stock hv_sock.

front=	# the socket of --hvsock

# serve PORT SERVER...: what the guest finds at a port of the host.
serve()
{
	local port=$1
	shift
	socat -t 600 "UNIX-LISTEN:${front}_$port,fork,backlog=128" "$@" 2>/dev/null &
}

# ask PORT: a connection to the guest's port: what is sent comes from standard input.
ask()
{
	(echo "CONNECT $1"; cat) | timeout "$deadline" socat -t 600 - "UNIX-CONNECT:$front"
}

# begin SCRIPT [OPTION...]: the guest, and its host's socket.
begin()
{
	front=$PWD/hv.sock
	[ -e root.img ] || fresh_root
	boot "$@" --hvsock "unix:$front" >boot.log 2>&1 &
	guest=$!
	trap 'kill $(jobs -p) $(pidof bulkhead) 2>/dev/null || true; cat boot.log console || true' EXIT
}

ended()
{
	wait "$guest"
	grep -q 'status 0' boot.log || fail "the run did not end well"
}

talks_both_ways()
{
	local in_sequence=$2 at_once=$3
	append="bh.clients=$at_once"
	deadline=600
	begin hvsock --vmbus-max-version "$1"
	serve 6000 EXEC:"sed s/hello/welcome/"
	serve 6001 OPEN:seen,creat,append
	# shellcheck disable=SC2016 # for socat's shell
	serve 6002 'SYSTEM:echo >>joined; while [ $(wc -l <joined) -lt '"$at_once"' ]; do sleep 0.2; done; cat'
	wait_for 'bh: listening' console
	expect 'bh: refused: .*timed out'
	expect 'bh: refused after: ([2-9]|[0-9]{2,}) s'
	expect 'bh: connected: welcome 6000'
	[ "$(sort -n seen | uniq | wc -l)" -eq 20 ] || fail "not all 20 were seen"
	expect "bh: at once: $at_once"
	# The other way, and each half by itself.
	echo "hello guest" | ask 5000 >answer
	cat answer
	expect '^OK [0-9]+' answer
	expect '^hello guest' answer
	seq 100000 | ask 5001 >sum
	cat sum
	expect "$(seq 100000 | md5sum)" sum
	timeout "$deadline" "$LAB/hvsock_clients" "$front" 5002 "$in_sequence" "$at_once"
	# Nobody listens there: it ends, without an OK.
	ask 5555 </dev/null >nobody
	[ ! -s nobody ] || fail "somebody answered"
	"$BULKHEAD" inspect lab >tree
	grep -A 12 hvsock tree
	echo end | ask 5009 >/dev/null
	ended
}
lab_case "hv_sock connects both ways at VMBus 4.0" talks_both_ways 4.0 20 8
long=yes lab_case "hv_sock connects both ways, 1000 times in sequence and 64 at once" \
	talks_both_ways 5.3 1000 64

# await_server PORT: until the guest's echo server listens there; a connect before that is lost.
await_server()
{
	wait_for 'bh: serving' console
	until echo probe | ask "$1" | grep -q probe; do
		echo "not yet"
	done
}

# Both ways at once: what the host sends comes back. Paused in the middle of it.
moves_a_gigabyte()
{
	deadline=600
	begin hvsock-stream
	await_server 5000
	head -c 16M /dev/urandom >part
	for _ in $(seq 64); do
		cat part
	done >gigabyte
	md5sum <gigabyte >sum
	(echo "CONNECT 5000"; cat gigabyte) |
		timeout "$deadline" socat -b 65536 -t 600 - "UNIX-CONNECT:$front" >answer &
	local client=$!
	sleep 3
	"$BULKHEAD" pause lab
	sleep 1
	"$BULKHEAD" resume lab
	wait "$client"
	rm gigabyte
	head -n 1 answer
	tail -n +2 answer | md5sum | diff sum -
	echo end | ask 5009 >/dev/null
	ended
}
long=yes lab_case "hv_sock moves a gigabyte each way" moves_a_gigabyte

dies()
{
	begin hvsock-hold
	serve 6000 EXEC:'cat'
	await_server 5000
	(echo "CONNECT 5000"; sleep 600) | socat -t 1 - "UNIX-CONNECT:$front" >held &
	wait_for OK held
	# shellcheck disable=SC2046 # there is one
	kill "$1" $(pidof bulkhead-vmwp)
	wait "$guest" || true
	# Its peers hear the end and go.
	for ((tries = 0; tries < 100; tries++)); do
		pgrep -f "UNIX-CONNECT:$front" >/dev/null || return 0
		sleep 0.2
	done
	fail "a connection outlived its guest"
}
lab_case "hv_sock: a killed guest ends its connections" dies -KILL
