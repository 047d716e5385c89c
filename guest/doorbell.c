/*
 * Doorbells by the thousand on an open channel, between two moments at which the host reads the
 * VP's exit counters: it types "go\n" when it has done so. None of them may exit to the worker.
 */
#include "lib/bootinfo.h"
#include "lib/console.h"
#include "lib/rt.h"
#include "lib/storvsc.h"

#define GO_MS 20000

static bool wait_go(const char *word)
{
	print("# inspect %s\n", word);
	return WAIT_FOR((inb(COM1 + UART_LSR) & UART_LSR_DR) && inb(COM1 + UART_DATA) == '\n',
			GO_MS);
}

void payload_main(void)
{
	unsigned doorbells = (unsigned)cmdline_number("doorbells", 20000), refused = 0;
	struct vmbus *bus = vmbus_init();
	struct vmbus_channel ch;

	if (!vmbus_contact(bus, VMBUS_VERSION(5, 2)) || !vmbus_request_offers(bus) ||
	    !stor_open(bus, &ch, 8))
		tap_bail("the controller does not open: give this payload a disk");
	irq_disable();
	tap_ok(wait_go("before"), "the host has read its counters");
	for (unsigned i = 0; i < doorbells; i++)
		refused += hv_signal(ch.connection, 0) != HV_STATUS_SUCCESS;
	tap_ok(wait_go("after"), "the host has read its counters again");
	tap_is(refused, 0, "%u doorbells rang", doorbells);
}
