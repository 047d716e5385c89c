#include <stdatomic.h>

#include "base/wire.h"
#include "devices/chipset/tulip_internal.h"

/* Descriptors: four words, in a ring with a base and a fixed step, or chained by their second
 * address. */

#define END_OF_RING (1u << 25)
#define SKIP_SHIFT  2 /* in CSR0: words left out between two descriptors */
#define SKIP_MASK   0x1fu

bool tulip_may_run(const struct tulip *tulip, const struct tulip_ring *ring)
{
	return ring->process == TULIP_RUNNING && !tulip->bus_error &&
	       pci_bus_master(tulip->function);
}

void tulip_fail(struct tulip *tulip)
{
	tulip->bus_error = true;
	tulip->receive.process = tulip->transmit.process = TULIP_STOPPED;
	tulip_event(tulip, TULIP_INT_BUS_ERROR);
}

bool tulip_fetch(struct tulip *tulip, uint32_t address, struct tulip_descriptor *out)
{
	uint8_t data[TULIP_DESCRIPTOR];

	if (gpa_read(tulip->env.gpa, address, data, sizeof(data)) < 0) {
		tulip_fail(tulip);
		return false;
	}
	*out = (struct tulip_descriptor){
		.address = address,
		.status = get_le32(data),
		.control = get_le32(data + 4),
		.buffer1 = get_le32(data + 8),
		.buffer2 = get_le32(data + 12),
	};
	return true;
}

bool tulip_close(struct tulip *tulip, const struct tulip_descriptor *descriptor, uint32_t status)
{
	uint32_t *word = gpa_pointer(tulip->env.gpa, descriptor->address, sizeof(*word), GPA_WRITE);

	if (!word) {
		tulip_fail(tulip);
		return false;
	}
	__atomic_store_n(word, htole32(status & ~TULIP_OWN), __ATOMIC_RELEASE);
	return true;
}

uint32_t tulip_next(const struct tulip *tulip, const struct tulip_ring *ring,
		    const struct tulip_descriptor *descriptor)
{
	uint32_t skip = (tulip->bus_mode >> SKIP_SHIFT & SKIP_MASK) * 4;

	if (descriptor->control & END_OF_RING)
		return ring->base;
	if (descriptor->control & TULIP_CHAINED)
		return descriptor->buffer2 & ~3u;
	return descriptor->address + TULIP_DESCRIPTOR + skip;
}
