#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "vmm/kvm.h"
#include "vmm/partition_internal.h"
#include "vmm/vp_state.h"

#define STATE_VERSION 1

static const struct {
	const char *name;
	size_t size;
} chip_parts[PARTITION_IRQCHIPS] = {
	[KVM_IRQCHIP_PIC_MASTER] = {"pic-master", sizeof(struct kvm_pic_state)},
	[KVM_IRQCHIP_PIC_SLAVE] = {"pic-slave", sizeof(struct kvm_pic_state)},
	[KVM_IRQCHIP_IOAPIC] = {"ioapic", sizeof(struct kvm_ioapic_state)},
};

static int take_irqchip(struct partition *p, struct irqchip_state *state)
{
	for (uint32_t i = 0; i < PARTITION_IRQCHIPS; i++) {
		int rc;

		state->chips[i] = (struct kvm_irqchip){.chip_id = i};
		rc = kvm_get_irqchip(p->kvm, &state->chips[i]);
		if (rc < 0)
			return rc;
	}
	return p->generation1 ? kvm_get_pit(p->kvm, &state->pit) : 0;
}

static int apply_irqchip(struct partition *p, const struct irqchip_state *state)
{
	for (uint32_t i = 0; i < PARTITION_IRQCHIPS; i++) {
		int rc = kvm_set_irqchip(p->kvm, &state->chips[i]);

		if (rc < 0)
			return rc;
	}
	return p->generation1 ? kvm_set_pit(p->kvm, &state->pit) : 0;
}

/*
 * Firmware leaves the PICs masked, and a guest of hardware-reduced ACPI never looks at them; KVM's
 * come up unmasked, with the local APIC taking their vectors.
 */
static int mask_pics(struct partition *p, struct irqchip_state *state)
{
	state->chips[KVM_IRQCHIP_PIC_MASTER].chip.pic.imr = 0xff;
	state->chips[KVM_IRQCHIP_PIC_SLAVE].chip.pic.imr = 0xff;
	return apply_irqchip(p, state);
}

int partition_keep_power_on(struct partition *partition)
{
	int rc = take_irqchip(partition, &partition->power_on);

	if (rc == 0 && !partition->generation1)
		rc = mask_pics(partition, &partition->power_on);
	for (unsigned int i = 0; rc == 0 && i < partition->vp_count; i++) {
		struct vp *vp = partition->vps[i];

		if (!partition->generation1)
			rc = vp_set_firmware_msrs(vp);
		if (rc == 0)
			rc = vp_state_take(partition->kvm, vp->vcpu, &vp->power_on);
	}
	return rc;
}

static void set_stopped(struct vp *vp, bool stopped)
{
	pthread_mutex_lock(&vp->group->lock);
	vp->stopped = stopped;
	pthread_mutex_unlock(&vp->group->lock);
}

static int reset_vps(struct partition *p)
{
	for (unsigned int i = 0; i < p->vp_count; i++) {
		struct vp *vp = p->vps[i];
		int rc = kvm_vcpu_renew_tsc_offset(vp->vcpu);

		if (rc == 0)
			rc = vp_state_apply(vp->power_on, vp->vcpu, false);
		/* Not every KVM lists these among the MSRs to save. */
		if (rc == 0 && !p->generation1)
			rc = vp_set_firmware_msrs(vp);
		if (rc < 0)
			return rc;
		atomic_store(&vp->nmi, false);
		vp_set_runtime_ns(vp, 0);
		set_stopped(vp, false);
	}
	p->tscs_noted = p->tscs_due = false;
	return apply_irqchip(p, &p->power_on);
}

int partition_reset(struct partition *partition, struct error *err)
{
	int rc;

	hv_partition_reset(partition->hv);
	atomic_store(&partition->group.hv_reset, false);
	rc = reset_vps(partition);
	if (rc < 0)
		return error_host(err, -rc, "KVM does not take the VPs back to power-on");
	rc = partition_unplug_all(partition);
	if (rc == 0)
		rc = partition_reset_shadow(partition);
	if (rc < 0)
		return error_host(err, -rc, "KVM does not give memory back");
	rc = gpa_discard_all(partition->gpa);
	if (rc < 0)
		return error_host(err, -rc, "cannot discard the guest's memory");
	return 0;
}

static void vp_name(unsigned int index, char name[16])
{
	snprintf(name, 16, "vp@%x", index);
}

static int save_vp(struct partition *p, unsigned int index, struct state_writer *writer)
{
	struct vp *vp = p->vps[index];
	struct vp_state *state;
	char name[16];
	int rc = vp_state_take(p->kvm, vp->vcpu, &state);

	if (rc < 0)
		return rc;
	if (p->tscs_noted && vp_state_tsc(state))
		*vp_state_tsc(state) = vp->tsc;
	vp_name(index, name);
	state_begin(writer, name, STATE_VERSION);
	state_put_u32(writer, "stopped", vp->stopped);
	state_put_u64(writer, "runtime-ns", vp_runtime_ns(vp));
	vp_state_write(state, writer);
	state_end(writer);
	vp_state_free(state);
	return 0;
}

static int save_irqchip(struct partition *p, struct state_writer *writer)
{
	struct irqchip_state state;
	int rc = take_irqchip(p, &state);

	if (rc < 0)
		return rc;
	state_begin(writer, "irqchip", STATE_VERSION);
	for (unsigned int i = 0; i < PARTITION_IRQCHIPS; i++)
		state_put_bytes(writer, chip_parts[i].name, &state.chips[i].chip,
				chip_parts[i].size);
	if (p->generation1)
		state_put_bytes(writer, "pit", &state.pit, sizeof(state.pit));
	state_end(writer);
	return 0;
}

int partition_save(struct partition *partition, struct state_writer *writer)
{
	int rc = 0;

	state_begin(writer, "partition", STATE_VERSION);
	state_put_u32(writer, "vp-count", partition->vp_count);
	state_put_u64(writer, "ram-bytes", gpa_ram_bytes(partition->gpa));
	state_put_u64(writer, "plugged-bytes", gpa_plugged_bytes(partition->gpa));
	for (unsigned int i = 0; rc == 0 && i < partition->vp_count; i++)
		rc = save_vp(partition, i, writer);
	if (rc == 0)
		rc = save_irqchip(partition, writer);
	if (rc == 0)
		hv_partition_save(partition->hv, writer);
	state_end(writer);
	return rc;
}

/* One VP's state as read from a tree, before any of it is applied. */
struct read_vp {
	struct vp_state *state;
	uint32_t stopped;
	uint64_t runtime_ns;
};

static int read_vp(struct partition *p, unsigned int index, const struct state_node *parent,
		   struct read_vp *out)
{
	struct state_node node;
	char name[16];
	int rc;

	vp_name(index, name);
	rc = state_child(parent, name, STATE_VERSION, &node);
	if (rc == 0)
		rc = state_get_u32(&node, "stopped", &out->stopped);
	if (rc == 0)
		rc = state_get_u64(&node, "runtime-ns", &out->runtime_ns);
	if (rc == 0)
		rc = vp_state_take(p->kvm, p->vps[index]->vcpu, &out->state);
	return rc < 0 ? rc : vp_state_read(out->state, &node);
}

static int read_irqchip(const struct partition *p, const struct state_node *parent,
			struct irqchip_state *out)
{
	struct state_node node;
	int rc = state_child(parent, "irqchip", STATE_VERSION, &node);

	for (uint32_t i = 0; rc == 0 && i < PARTITION_IRQCHIPS; i++) {
		out->chips[i] = (struct kvm_irqchip){.chip_id = i};
		rc = state_get_bytes(&node, chip_parts[i].name, &out->chips[i].chip,
				     chip_parts[i].size);
	}
	if (rc == 0 && p->generation1)
		rc = state_get_bytes(&node, "pit", &out->pit, sizeof(out->pit));
	return rc;
}

static int check_shape(const struct partition *p, const struct state_node *node)
{
	uint64_t ram_bytes;
	uint32_t vp_count;
	int rc = state_get_u32(node, "vp-count", &vp_count);

	if (rc == 0)
		rc = state_get_u64(node, "ram-bytes", &ram_bytes);
	if (rc < 0)
		return rc;
	return vp_count == p->vp_count && ram_bytes == gpa_ram_bytes(p->gpa) ? 0 : -EINVAL;
}

/* What is plugged in the right amount may have its contents already. */
static int restore_plugged(struct partition *p, uint64_t bytes)
{
	int rc;

	if (bytes == gpa_plugged_bytes(p->gpa))
		return 0;
	rc = partition_unplug_all(p);
	return rc < 0 || bytes == 0 ? rc : partition_plug(p, bytes);
}

static int apply(struct partition *p, const struct read_vp *vps, const struct irqchip_state *chips)
{
	int rc = apply_irqchip(p, chips);

	for (unsigned int i = 0; rc == 0 && i < p->vp_count; i++) {
		rc = vp_state_apply(vps[i].state, p->vps[i]->vcpu, true);
		if (vp_state_tsc(vps[i].state))
			p->vps[i]->tsc = *vp_state_tsc(vps[i].state);
		vp_set_runtime_ns(p->vps[i], vps[i].runtime_ns);
		set_stopped(p->vps[i], vps[i].stopped != 0);
	}
	p->tscs_noted = p->tscs_due = rc == 0;
	return rc;
}

static int restore(struct partition *p, const struct state_node *node, struct read_vp *vps)
{
	struct irqchip_state chips;
	uint64_t plugged;
	int rc = check_shape(p, node);

	for (unsigned int i = 0; rc == 0 && i < p->vp_count; i++)
		rc = read_vp(p, i, node, &vps[i]);
	if (rc == 0)
		rc = read_irqchip(p, node, &chips);
	if (rc == 0)
		rc = state_get_u64(node, "plugged-bytes", &plugged);
	if (rc == 0)
		rc = restore_plugged(p, plugged);
	if (rc < 0)
		return rc;
	rc = apply(p, vps, &chips);
	if (rc == 0)
		rc = hv_partition_restore(p->hv, node);
	if (rc < 0) {
		hv_partition_reset(p->hv);
		reset_vps(p);
	}
	return rc;
}

int partition_restore(struct partition *partition, const struct state_node *parent)
{
	struct state_node node;
	struct read_vp *vps;
	int rc = state_child(parent, "partition", STATE_VERSION, &node);

	if (rc < 0)
		return rc;
	vps = calloc(partition->vp_count, sizeof(*vps));
	if (!vps)
		return -ENOMEM;
	rc = restore(partition, &node, vps);
	for (unsigned int i = 0; i < partition->vp_count; i++)
		vp_state_free(vps[i].state);
	free(vps);
	return rc;
}
