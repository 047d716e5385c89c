#include "lib/bootinfo.h"
#include "lib/console.h"
#include "lib/rt.h"

void payload_entry(void);

void payload_entry(void)
{
	console_init();
	trap_init();
	boot_info_init();
	mem_init();
	apic_init();
	payload_main();
	tap_done();
}
