# shellcheck shell=bash disable=SC2034 # cpus is a setting of ../lib.sh
# Disks in VHD and VHDX images, by a stock guest.

# holds_what_was_written IMAGE: so we say ourselves, and for an image with no parent qemu-img, too.
holds_what_was_written()
{
	"$BULKHEAD" disk check "$1"
	"$BULKHEAD" disk convert "$1" "$1.img"
	case $1 in
	child*) ;;
	*.vhdx)
		qemu-img check "$1"
		qemu-img compare -f raw -F vhdx "$1.img" "$1"
		;;
	*.vhd) qemu-img compare -f raw -F vpc "$1.img" "$1" ;;
	esac
	outside_agrees "$1.img"
	rm "$1.img"
}

# Every kind of image in one guest, all under load at the same time over four channels each.
fio_verifies_images()
{
	local images=(dynamic.vhdx fixed.vhdx dynamic.vhd child.vhdx child.vhd) image disks=()
	cpus=4
	"$BULKHEAD" disk create dynamic.vhdx --size 96M --block-size 1M
	"$BULKHEAD" disk create fixed.vhdx --size 96M --fixed
	"$BULKHEAD" disk create dynamic.vhd --size 96M
	for image in vhdx vhd; do
		"$BULKHEAD" disk create base.$image --size 96M
		"$BULKHEAD" disk create child.$image --parent base.$image
	done
	sha256sum base.* >before
	for image in "${images[@]}"; do
		disks+=(--disk "$image")
	done
	boot fio-images "${disks[@]}"
	expect_status 0
	expect 'bh: fio: 0'
	sha256sum --check before
	for image in "${images[@]}"; do
		holds_what_was_written "$image"
	done
}
lab_case "fio verifies VHD and VHDX images of every kind" fio_verifies_images
