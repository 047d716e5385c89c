# shellcheck shell=bash
# The bare-metal payloads, on mainline KVM.

payload()
{
	"$LAB/../payload/run" --build "$LAB/../../build" --timeout 120 "$1"
}
for name in $("$LAB/../payload/run" --list); do
	lab_case "payload $name" payload "$name"
done
