/* Says that it is up and sleeps for ever: the guest whose worker's memory is measured. */
#include "lib/rt.h"

void payload_main(void)
{
	print("idle\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}
