#include "base/crc32c.h"
#include "base/wire.h"
#include "devices/block/vhdx_format.h"
#include "fuzz_image.h"

static void fix_one(uint8_t *data, size_t length, size_t checksum_at)
{
	put_le32(data + checksum_at, 0);
	put_le32(data + checksum_at, crc32c(0, data, length));
}

/* Headers, region tables, and a log's entry where one begins. */
static void fix(struct fuzz_file *fuzz)
{
	uint8_t *log = fuzz->bytes + VHDX_MIB;

	for (unsigned int i = 0; i < 2; i++) {
		fix_one(fuzz->bytes + VHDX_HEADER_OFFSET(i), VHDX_PAGE, VHDX_HEADER_CHECKSUM);
		fix_one(fuzz->bytes + VHDX_REGION_OFFSET(i), VHDX_TABLE_BYTES,
			VHDX_REGION_CHECKSUM);
	}
	if (memcmp(log, VHDX_LOG_SIGNATURE, 4) == 0 &&
	    get_le32(log + VHDX_LOG_LENGTH) >= VHDX_PAGE &&
	    get_le32(log + VHDX_LOG_LENGTH) <= VHDX_MIB)
		fix_one(log, get_le32(log + VHDX_LOG_LENGTH), VHDX_LOG_CHECKSUM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_image(data, size, vhdx_open, vhdx_create, fix);
	return 0;
}
