#include "vmm/partition_internal.h"

/*
 * The VPs' TSCs over a save.  KVM counts them on while VPs rest, and while what was saved is read
 * back, which takes long where there is much memory: a guest whose clock is the TSC (Linux's, where
 * it is invariant) would take that for processors that hung.  So each is as it was when its VP came
 * to rest, in what is saved, and once more when the VP goes on.
 */

#define MSR_TSC		 0x10u
#define MSR_TSC_DEADLINE 0x6e0u

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

static bool get_msr(struct vp *vp, uint32_t index, uint64_t *value)
{
	struct one_msr msr = {.head.nmsrs = 1, .entry.index = index};

	if (kvm_vcpu_get_msrs(vp->vcpu, &msr.head) != 1)
		return false;
	*value = msr.entry.data;
	return true;
}

static void set_msr(struct vp *vp, uint32_t index, uint64_t value)
{
	struct one_msr msr = {.head.nmsrs = 1, .entry = {.index = index, .data = value}};

	kvm_vcpu_set_msrs(vp->vcpu, &msr.head);
}

uint64_t partition_guest_tsc(struct partition *partition, unsigned int vp_index)
{
	uint64_t tsc = 0;

	get_msr(partition->vps[vp_index], MSR_TSC, &tsc);
	return tsc;
}

void partition_note_tscs(struct partition *partition)
{
	for (unsigned int i = 0; i < partition->vp_count; i++)
		partition->vps[i]->tsc = partition_guest_tsc(partition, i);
	partition->tscs_noted = true;
	partition->tscs_due = false;
}

/* They were noted one after the other: what is less than a second apart is one to KVM, too. */
static bool in_step(const struct partition *p, unsigned int i)
{
	uint64_t first = p->vps[0]->tsc, other = p->vps[i]->tsc;
	int khz = kvm_vcpu_tsc_khz(p->vps[0]->vcpu);
	uint64_t apart = first > other ? first - other : other - first;

	return i > 0 && khz > 0 && apart < (uint64_t)khz * 1000;
}

static void set_tsc(struct partition *p, unsigned int i)
{
	struct vp *vp = p->vps[i];
	uint64_t deadline;
	int rc;

	if (in_step(p, i))
		rc = kvm_vcpu_share_tsc(p->vps[0]->vcpu, vp->vcpu);
	else
		rc = kvm_vcpu_move_tsc(vp->vcpu, vp->tsc - partition_guest_tsc(p, i));
	if (rc < 0)
		set_msr(vp, MSR_TSC, vp->tsc);
	/* Its timer is as far from it as it was. */
	if (get_msr(vp, MSR_TSC_DEADLINE, &deadline))
		set_msr(vp, MSR_TSC_DEADLINE, deadline);
}

void partition_set_tscs(struct partition *partition)
{
	for (unsigned int i = 0; partition->tscs_due && i < partition->vp_count; i++)
		set_tsc(partition, i);
	partition->tscs_due = false;
}
