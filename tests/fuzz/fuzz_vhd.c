#include "base/wire.h"
#include "devices/block/vhd.h"
#include "fuzz_image.h"

static void fix_one(uint8_t *data, size_t length, size_t checksum_at)
{
	put_be32(data + checksum_at, vhd_checksum(data, length, checksum_at));
}

/* Both footers, and the header where it is when nothing moved it. */
static void fix(struct fuzz_file *fuzz)
{
	fix_one(fuzz->bytes, VHD_FOOTER_BYTES, VHD_FOOTER_CHECKSUM);
	fix_one(fuzz->bytes + VHD_FOOTER_BYTES, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM);
	if (fuzz->length >= VHD_FOOTER_BYTES)
		fix_one(fuzz->bytes + fuzz->length - VHD_FOOTER_BYTES, VHD_FOOTER_BYTES,
			VHD_FOOTER_CHECKSUM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_image(data, size, vhd_open, vhd_create, fix);
	return 0;
}
