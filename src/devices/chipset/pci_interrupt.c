#include "devices/chipset/pci_internal.h"

/* Brings the ISA interrupts up to date.  With interrupt_lock held. */
static void drive(struct pci_bus *bus)
{
	bool asserted[PCI_ISA_IRQS] = {0};

	for (unsigned int pirq = 0; pirq < PCI_PIRQS; pirq++) {
		int irq = -1;

		if (bus->pirq_holders[pirq] > 0 && bus->route)
			irq = bus->route(bus->route_context, pirq);
		if (irq >= 0 && irq < (int)PCI_ISA_IRQS)
			asserted[irq] = true;
	}
	for (unsigned int i = 0; i < PCI_ISA_IRQS; i++)
		irq_level_set(bus->levels[i], asserted[i]);
}

void pci_interrupt(struct pci_function *function, bool asserted)
{
	struct pci_bus *bus = function->bus;
	unsigned int pin = function->description.interrupt_pin;

	if (pin == 0)
		return;
	pthread_mutex_lock(&bus->interrupt_lock);
	if (function->interrupt != asserted) {
		/* INTA# of slot 1 is PIRQA#: so firmware and the ACPI tables have it. */
		unsigned int pirq = (function->slot + pin - 2 + PCI_PIRQS) % PCI_PIRQS;

		function->interrupt = asserted;
		bus->pirq_holders[pirq] += asserted ? 1u : -1u;
		drive(bus);
	}
	pthread_mutex_unlock(&bus->interrupt_lock);
}

void pci_route_set(struct pci_bus *bus, int (*route)(void *context, unsigned int pirq),
		   void *context)
{
	pthread_mutex_lock(&bus->interrupt_lock);
	bus->route = route;
	bus->route_context = context;
	drive(bus);
	pthread_mutex_unlock(&bus->interrupt_lock);
}

void pci_routes_changed(struct pci_bus *bus)
{
	pthread_mutex_lock(&bus->interrupt_lock);
	drive(bus);
	pthread_mutex_unlock(&bus->interrupt_lock);
}
