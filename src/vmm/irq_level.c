#include <errno.h>
#include <stdlib.h>

#include "vmm/irq_internal.h"
#include "vmm/kvm.h"

struct irq_level {
	struct irq_controller *controller;
	uint32_t gsi;
	bool asserted; /* under the controller's levels_lock */
};

int irq_level_new(struct irq_controller *controller, uint32_t gsi, struct irq_level **out)
{
	struct irq_level *level;

	if (gsi >= MACHINE_GSI_COUNT)
		return -EINVAL;
	level = calloc(1, sizeof(*level));
	if (!level)
		return -ENOMEM;
	level->controller = controller;
	level->gsi = gsi;
	*out = level;
	return 0;
}

void irq_level_free(struct irq_level *level)
{
	if (!level)
		return;
	irq_level_set(level, false);
	free(level);
}

/* With the lock held, so that KVM hears of changes in their order. */
static void change(struct irq_level *level, bool asserted)
{
	struct irq_controller *c = level->controller;
	unsigned int *holders = &c->levels_asserted[level->gsi];
	bool was_held = *holders > 0;

	if (level->asserted == asserted)
		return;
	level->asserted = asserted;
	*holders += asserted ? 1u : -1u;
	if (c->kvm && was_held != (*holders > 0))
		kvm_irq_line(c->kvm, level->gsi, asserted);
}

void irq_level_set(struct irq_level *level, bool asserted)
{
	pthread_mutex_lock(&level->controller->levels_lock);
	change(level, asserted);
	pthread_mutex_unlock(&level->controller->levels_lock);
}

bool irq_level_asserted(const struct irq_level *level)
{
	bool asserted;

	pthread_mutex_lock(&level->controller->levels_lock);
	asserted = level->asserted;
	pthread_mutex_unlock(&level->controller->levels_lock);
	return asserted;
}

bool irq_gsi_asserted(struct irq_controller *controller, uint32_t gsi)
{
	bool held;

	pthread_mutex_lock(&controller->levels_lock);
	held = controller->levels_asserted[gsi] > 0;
	pthread_mutex_unlock(&controller->levels_lock);
	return held;
}
