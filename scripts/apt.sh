# shellcheck shell=sh
# What scripts/kernel and scripts/package share: packages downloaded and unpacked, never installed.

# shellcheck disable=SC2034 # for those who source this
cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/bulkhead

die()
{
	echo "scripts/$(basename "$0"): $*" >&2
	exit 1
}

refresh()
{
	if [ "$(id -u)" -eq 0 ]; then
		apt-get update -qq
	elif command -v sudo >/dev/null; then
		sudo apt-get update -qq
	else
		false
	fi >&2 || die "the package lists are missing or old: run 'apt-get update' as root, then try again"
}

download()
{
	(cd "$1" && apt-get -o APT::Sandbox::User=root download -qq "$2") >&2
}

# unpack PACKAGE DIR: DIR/root is then what it holds; DIR goes when the script ends.
unpack()
{
	# shellcheck disable=SC2064 # the directory of now
	trap "rm -rf '$2'" EXIT
	chmod 755 "$2"
	download "$2" "$1" || { refresh && download "$2" "$1"; } ||
		die "cannot download $1: check the network and /etc/apt/sources.list"
	mkdir "$2/root"
	dpkg-deb -x "$2"/*.deb "$2/root"
}
