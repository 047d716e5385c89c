#include "vmm/irq.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/irq_internal.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"

/* The address and data of a fixed, edge-triggered MSI (Intel SDM volume 3, 11.11). */
#define MSI_ADDRESS	  0xfee00000u
#define MSI_APIC_ID_SHIFT 12
#define MSI_APIC_ID_MAX	  255u

struct irq_line {
	struct irq_controller *controller;
	uint32_t gsi;
	int eventfd;
};

struct irq_msi {
	struct irq_controller *controller;
	atomic_int eventfd; /* made by the first set */
	atomic_bool routed; /* the irqfd is attached */
	bool written;	    /* KVM's table has apic_id and vector at gsi */
	uint32_t gsi;	    /* 0: none yet */
	uint32_t apic_id;
	uint8_t vector;
};

int irq_controller_new(struct kvm *kvm, struct irq_controller **out)
{
	struct irq_controller *c = calloc(1, sizeof(*c));
	int entries = kvm ? kvm_capability(kvm, KVM_CAP_IRQ_ROUTING) : INT_MAX;
	unsigned int pins = IRQ_IOAPIC_PINS + IRQ_PIC_PINS;

	if (!c)
		return -ENOMEM;
	if (entries <= (int)pins) {
		free(c);
		return -ENOTSUP;
	}
	c->kvm = kvm;
	c->gsi_limit = (unsigned int)entries - pins;
	if (c->gsi_limit > IRQ_MSI_MAX)
		c->gsi_limit = IRQ_MSI_MAX;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->levels_lock, NULL);
	*out = c;
	return 0;
}

void irq_controller_free(struct irq_controller *controller)
{
	if (!controller)
		return;
	pthread_mutex_destroy(&controller->levels_lock);
	pthread_mutex_destroy(&controller->lock);
	free(controller->table);
	free(controller);
}

int irq_line_new(struct irq_controller *controller, uint32_t gsi, struct irq_line **out)
{
	struct irq_line *line;
	int rc;

	if (gsi >= MACHINE_GSI_COUNT)
		return -EINVAL;
	line = calloc(1, sizeof(*line));
	if (!line)
		return -ENOMEM;
	line->controller = controller;
	line->gsi = gsi;
	line->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (line->eventfd < 0) {
		rc = -errno;
		goto fail_free;
	}
	rc = controller->kvm ? kvm_irqfd(controller->kvm, gsi, line->eventfd, true) : 0;
	if (rc < 0)
		goto fail_close;
	*out = line;
	return 0;

fail_close:
	close(line->eventfd);
fail_free:
	free(line);
	return rc;
}

void irq_line_free(struct irq_line *line)
{
	if (!line)
		return;
	if (line->controller->kvm)
		kvm_irqfd(line->controller->kvm, line->gsi, line->eventfd, false);
	close(line->eventfd);
	free(line);
}

void irq_line_raise(struct irq_line *line)
{
	eventfd_write(line->eventfd, 1);
}

int irq_line_fd(const struct irq_line *line)
{
	return line->eventfd;
}

int irq_msi_new(struct irq_controller *controller, struct irq_msi **out)
{
	struct irq_msi *msi = calloc(1, sizeof(*msi));

	if (!msi)
		return -ENOMEM;
	msi->controller = controller;
	atomic_init(&msi->eventfd, -1);
	atomic_init(&msi->routed, false);
	*out = msi;
	return 0;
}

void irq_msi_free(struct irq_msi *msi)
{
	struct irq_controller *c;

	if (!msi)
		return;
	c = msi->controller;
	irq_msi_clear(msi);
	pthread_mutex_lock(&c->lock);
	if (msi->gsi)
		c->msis[msi->gsi - MACHINE_GSI_COUNT] = NULL;
	pthread_mutex_unlock(&c->lock);
	if (msi->eventfd >= 0)
		close(msi->eventfd);
	free(msi);
}

static void add_pin(struct kvm_irq_routing *table, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = {.irqchip = chip, .pin = pin},
	};
}

static void add_msi(struct kvm_irq_routing *table, const struct irq_msi *msi)
{
	table->entries[table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = msi->gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = MSI_ADDRESS | msi->apic_id << MSI_APIC_ID_SHIFT,
			  .data = msi->vector},
	};
}

static int make_table(struct irq_controller *c)
{
	size_t entries = IRQ_IOAPIC_PINS + IRQ_PIC_PINS + c->gsi_limit;

	if (!c->table)
		c->table = calloc(1, sizeof(*c->table) + entries * sizeof(c->table->entries[0]));
	return c->table ? 0 : -ENOMEM;
}

static void add_ioapic_pin(struct irq_controller *c, uint32_t gsi)
{
	if (c->pit && gsi == 2)
		return;
	add_pin(c->table, gsi, KVM_IRQCHIP_IOAPIC, c->pit && gsi == 0 ? 2 : gsi);
}

/* KVM takes only whole tables: the pins as it had them at first, then every MSI that has a GSI. */
static int write_table(struct irq_controller *c)
{
	struct kvm_irq_routing *table;

	if (!c->kvm)
		return 0;
	if (make_table(c) < 0)
		return -ENOMEM;
	table = c->table;
	table->nr = 0;
	for (uint32_t pin = 0; pin < IRQ_IOAPIC_PINS; pin++) {
		add_ioapic_pin(c, pin);
		if (pin < IRQ_PIC_PINS)
			add_pin(table, pin,
				pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin % 8);
	}
	for (unsigned int i = 0; i < c->gsi_limit; i++) {
		if (c->msis[i])
			add_msi(table, c->msis[i]);
	}
	return kvm_set_routes(c->kvm, table);
}

int irq_controller_add_pit(struct irq_controller *controller)
{
	int rc;

	pthread_mutex_lock(&controller->lock);
	controller->pit = true;
	rc = write_table(controller);
	pthread_mutex_unlock(&controller->lock);
	return rc;
}

static void give_gsi_back(struct irq_msi *msi)
{
	msi->controller->msis[msi->gsi - MACHINE_GSI_COUNT] = NULL;
	msi->gsi = 0;
	msi->written = false;
}

/* A GSI for the MSI: a free one, or that of an MSI which has no route now. */
static int take_gsi(struct irq_msi *msi)
{
	struct irq_controller *c = msi->controller;
	unsigned int idle = c->gsi_limit;

	for (unsigned int i = 0; i < c->gsi_limit; i++) {
		if (!c->msis[i]) {
			idle = i;
			break;
		}
		if (idle == c->gsi_limit && !c->msis[i]->routed)
			idle = i;
	}
	if (idle == c->gsi_limit)
		return -ENOSPC;
	if (c->msis[idle])
		give_gsi_back(c->msis[idle]);
	c->msis[idle] = msi;
	msi->gsi = MACHINE_GSI_COUNT + idle;
	return 0;
}

static int make_eventfd(struct irq_msi *msi)
{
	int fd;

	if (msi->eventfd >= 0)
		return 0;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	msi->eventfd = fd;
	return 0;
}

static int change_route(struct irq_msi *msi, uint32_t apic_id, uint8_t vector)
{
	const uint32_t old_apic_id = msi->apic_id;
	const uint8_t old_vector = msi->vector;
	int rc;

	if (msi->written && msi->apic_id == apic_id && msi->vector == vector)
		return 0;
	msi->apic_id = apic_id;
	msi->vector = vector;
	rc = write_table(msi->controller);
	if (rc < 0) {
		msi->apic_id = old_apic_id;
		msi->vector = old_vector;
		return rc;
	}
	msi->written = true;
	return 0;
}

static int connect_irqfd(struct irq_msi *msi)
{
	struct irq_controller *c = msi->controller;
	int rc = 0;

	if (msi->routed)
		return 0;
	if (c->kvm)
		rc = kvm_irqfd(c->kvm, msi->gsi, msi->eventfd, true);
	if (rc == 0)
		msi->routed = true;
	return rc;
}

static int set_locked(struct irq_msi *msi, uint32_t apic_id, uint8_t vector)
{
	bool fresh = msi->gsi == 0;
	int rc;

	rc = make_eventfd(msi);
	if (rc == 0 && fresh)
		rc = take_gsi(msi);
	if (rc < 0)
		return rc;
	rc = change_route(msi, apic_id, vector);
	if (rc == 0)
		rc = connect_irqfd(msi);
	if (rc < 0 && fresh)
		give_gsi_back(msi);
	return rc;
}

int irq_msi_set(struct irq_msi *msi, uint32_t apic_id, uint8_t vector)
{
	int rc;

	if (apic_id > MSI_APIC_ID_MAX)
		return -EINVAL;
	pthread_mutex_lock(&msi->controller->lock);
	rc = set_locked(msi, apic_id, vector);
	pthread_mutex_unlock(&msi->controller->lock);
	return rc;
}

void irq_msi_clear(struct irq_msi *msi)
{
	struct irq_controller *c = msi->controller;
	eventfd_t stale;

	pthread_mutex_lock(&c->lock);
	if (msi->routed) {
		msi->routed = false;
		if (c->kvm)
			kvm_irqfd(c->kvm, msi->gsi, msi->eventfd, false);
		/* What came too late must not fire at the next set. */
		eventfd_read(msi->eventfd, &stale);
	}
	pthread_mutex_unlock(&c->lock);
}

void irq_msi_raise(struct irq_msi *msi)
{
	if (msi->routed)
		eventfd_write(msi->eventfd, 1);
}

int irq_msi_fd(const struct irq_msi *msi)
{
	return msi->eventfd;
}
