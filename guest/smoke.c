/* The smallest sign of life: the console, the clock and the way out work. */
#include "lib/bootinfo.h"
#include "lib/rt.h"

void payload_main(void)
{
	uint64_t t = rdtsc();

	print("# bulkhead payload: smoke\n");
	tap_ok(boot_info()->valid, "the boot protocol's magic number is there");
	tap_ok(rdtsc() > t, "the TSC advances");
}
