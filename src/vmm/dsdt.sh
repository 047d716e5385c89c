#!/bin/sh
# Compile the DSDT to a C array, with the numbers of machine.h.
#
#	dsdt.sh IASL MACHINE.H DSDT.ASL OUT.HEX CC...
set -eu

iasl=$1 header=$2 source=$3 out=$4
shift 4
base=${out%.hex}

# ASL knows neither C's integer suffixes nor line markers.
"$@" -E -P -x c -imacros "$header" "$source" |
	sed -E 's/\b(0x[0-9a-fA-F]+|[0-9]+)[uU][lL]*\b/\1/g' >"$base.i.asl"

# 3150: an empty resource template is just what the VMBus driver asks for.
"$iasl" -we -vw 3150 -tc -p "$base" "$base.i.asl" >"$base.log" || {
	cat "$base.log" >&2
	exit 1
}
sed -i 's/^unsigned char .*\[\]/static const unsigned char dsdt_aml[]/' "$out"
