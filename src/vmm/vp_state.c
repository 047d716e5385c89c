#include "vmm/vp_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

#define MSR_TSC			     0x10u
#define MSR_HV_FIRST		     0x40000000u
#define MSR_HV_LAST		     0x400001ffu
#define MSR_HV_TSC_INVARIANT_CONTROL 0x40000118u

struct vp_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_debugregs debug_regs;
	struct kvm_mp_state mp_state;
	struct kvm_vcpu_events events;
	void *xsave;
	size_t sizes[KVM_PART_DEBUG_REGS + 1]; /* 0: KVM does not have the part */
	struct kvm_msrs *msrs;
};

/* The order in which parts go back: SREGS first for the APIC base and mode, MSRs after the LAPIC
 * for the timer's deadline, events last. */
static const enum kvm_vcpu_part before_msrs[] = {
	KVM_PART_SREGS, KVM_PART_REGS, KVM_PART_XCRS, KVM_PART_FPU, KVM_PART_XSAVE, KVM_PART_LAPIC,
};
static const enum kvm_vcpu_part after_msrs[] = {
	KVM_PART_DEBUG_REGS,
	KVM_PART_MP_STATE,
	KVM_PART_EVENTS,
};

static void *part_data(struct vp_state *state, enum kvm_vcpu_part part)
{
	switch (part) {
	case KVM_PART_REGS:
		return &state->regs;
	case KVM_PART_SREGS:
		return &state->sregs;
	case KVM_PART_FPU:
		return &state->fpu;
	case KVM_PART_XSAVE:
		return state->xsave;
	case KVM_PART_XCRS:
		return &state->xcrs;
	case KVM_PART_LAPIC:
		return &state->lapic;
	case KVM_PART_EVENTS:
		return &state->events;
	case KVM_PART_MP_STATE:
		return &state->mp_state;
	case KVM_PART_DEBUG_REGS:
		return &state->debug_regs;
	}
	return NULL;
}

static int take_parts(struct vp_state *state, struct kvm_vcpu *vcpu,
		      const enum kvm_vcpu_part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc;

		if (state->sizes[parts[i]] == 0)
			continue;
		rc = kvm_vcpu_get(vcpu, parts[i], part_data(state, parts[i]));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int apply_parts(const struct vp_state *state, struct kvm_vcpu *vcpu,
		       const enum kvm_vcpu_part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int rc;

		if (state->sizes[parts[i]] == 0)
			continue;
		rc = kvm_vcpu_set(vcpu, parts[i], part_data((struct vp_state *)state, parts[i]));
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The Hyper-V MSRs are ours and saved elsewhere, save the one that the kernel may handle. */
static bool msr_is_kernels(uint32_t msr)
{
	return msr < MSR_HV_FIRST || msr > MSR_HV_LAST || msr == MSR_HV_TSC_INVARIANT_CONTROL;
}

/* Asks for each listed MSR; KVM stops at one that this vCPU does not have, which we then drop. */
static int read_msrs(struct kvm_vcpu *vcpu, struct kvm_msrs *msrs)
{
	uint32_t done = 0;

	while (done < msrs->nmsrs) {
		uint32_t left = msrs->nmsrs - done;
		struct kvm_msrs *rest CLEANUP_FREE =
			calloc(1, sizeof(*rest) + left * sizeof(rest->entries[0]));
		int rc;

		if (!rest)
			return -ENOMEM;
		rest->nmsrs = left;
		memcpy(rest->entries, &msrs->entries[done], left * sizeof(rest->entries[0]));
		rc = kvm_vcpu_get_msrs(vcpu, rest);
		if (rc < 0)
			return rc;
		memcpy(&msrs->entries[done], rest->entries,
		       (uint32_t)rc * sizeof(rest->entries[0]));
		done += (uint32_t)rc;
		if ((uint32_t)rc == left)
			break;
		msrs->nmsrs--;
		memmove(&msrs->entries[done], &msrs->entries[done + 1],
			(msrs->nmsrs - done) * sizeof(msrs->entries[0]));
	}
	return 0;
}

static int take_msrs(struct kvm *kvm, struct kvm_vcpu *vcpu, struct kvm_msrs **out)
{
	struct kvm_msr_list *list CLEANUP_FREE = NULL;
	struct kvm_msrs *msrs CLEANUP_FREE = NULL;
	int rc = kvm_msr_list(kvm, &list);

	if (rc < 0)
		return rc;
	msrs = calloc(1, sizeof(*msrs) + list->nmsrs * sizeof(msrs->entries[0]));
	if (!msrs)
		return -ENOMEM;
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		if (msr_is_kernels(list->indices[i]))
			msrs->entries[msrs->nmsrs++].index = list->indices[i];
	}
	rc = read_msrs(vcpu, msrs);
	if (rc < 0)
		return rc;
	*out = TAKE_POINTER(msrs);
	return 0;
}

static int take(struct vp_state *state, struct kvm *kvm, struct kvm_vcpu *vcpu)
{
	int rc;

	for (enum kvm_vcpu_part part = 0; part < ARRAY_LENGTH(state->sizes); part++)
		state->sizes[part] = kvm_vcpu_part_size(kvm, part);
	if (state->sizes[KVM_PART_XSAVE]) {
		/* The FPU is a part of it. */
		state->sizes[KVM_PART_FPU] = 0;
		state->xsave = calloc(1, state->sizes[KVM_PART_XSAVE]);
		if (!state->xsave)
			return -ENOMEM;
	}
	rc = take_parts(state, vcpu, before_msrs, ARRAY_LENGTH(before_msrs));
	if (rc < 0)
		return rc;
	rc = take_parts(state, vcpu, after_msrs, ARRAY_LENGTH(after_msrs));
	return rc < 0 ? rc : take_msrs(kvm, vcpu, &state->msrs);
}

int vp_state_take(struct kvm *kvm, struct kvm_vcpu *vcpu, struct vp_state **out)
{
	struct vp_state *state = calloc(1, sizeof(*state));
	int rc;

	if (!state)
		return -ENOMEM;
	rc = take(state, kvm, vcpu);
	if (rc < 0) {
		vp_state_free(state);
		return rc;
	}
	*out = state;
	return 0;
}

void vp_state_free(struct vp_state *state)
{
	if (!state)
		return;
	free(state->msrs);
	free(state->xsave);
	free(state);
}

/* Keeps in batch only what is to be written: what differs, and the TSC only if asked for. */
static void keep_changed(struct kvm_msrs *batch, const struct kvm_msrs *now, bool with_tsc)
{
	uint32_t kept = 0;

	for (uint32_t i = 0, at = 0; i < batch->nmsrs; i++) {
		const struct kvm_msr_entry *wanted = &batch->entries[i];
		bool readable = at < now->nmsrs && now->entries[at].index == wanted->index;
		bool changed = !readable || now->entries[at].data != wanted->data;

		at += readable;
		if (changed && (with_tsc || wanted->index != MSR_TSC))
			batch->entries[kept++] = *wanted;
	}
	batch->nmsrs = kept;
}

static struct kvm_msrs *copy_msrs(const struct kvm_msrs *msrs)
{
	size_t size = sizeof(*msrs) + msrs->nmsrs * sizeof(msrs->entries[0]);
	struct kvm_msrs *copy = malloc(size);

	return copy ? memcpy(copy, msrs, size) : NULL;
}

/*
 * Writes the MSRs that differ from what the vCPU has, one stretch at a time, past those that
 * cannot be written: some KVMs tell of registers that they do not let anyone set.
 */
static int apply_msrs(const struct kvm_msrs *msrs, struct kvm_vcpu *vcpu, bool with_tsc)
{
	struct kvm_msrs *batch CLEANUP_FREE = copy_msrs(msrs);
	struct kvm_msrs *now CLEANUP_FREE = copy_msrs(msrs);
	int rc;

	if (!batch || !now)
		return -ENOMEM;
	rc = read_msrs(vcpu, now);
	if (rc < 0)
		return rc;
	keep_changed(batch, now, with_tsc);
	while (batch->nmsrs > 0) {
		uint32_t done;

		rc = kvm_vcpu_set_msrs(vcpu, batch);
		if (rc < 0)
			return rc;
		done = MIN((uint32_t)rc + 1, batch->nmsrs);
		batch->nmsrs -= done;
		memmove(batch->entries, &batch->entries[done],
			batch->nmsrs * sizeof(batch->entries[0]));
	}
	return 0;
}

int vp_state_apply(const struct vp_state *state, struct kvm_vcpu *vcpu, bool with_tsc)
{
	int rc = apply_parts(state, vcpu, before_msrs, ARRAY_LENGTH(before_msrs));

	if (rc < 0)
		return rc;
	rc = apply_msrs(state->msrs, vcpu, with_tsc);
	if (rc < 0)
		return rc;
	return apply_parts(state, vcpu, after_msrs, ARRAY_LENGTH(after_msrs));
}

uint64_t *vp_state_tsc(struct vp_state *state)
{
	for (uint32_t i = 0; i < state->msrs->nmsrs; i++) {
		if (state->msrs->entries[i].index == MSR_TSC)
			return (uint64_t *)&state->msrs->entries[i].data;
	}
	return NULL;
}

/* Registers go into the tree by name, one 64-bit number each. */
struct named_field {
	const char *name;
	size_t offset;
};
#define STATE_FIELD(member, field)                                                                 \
	{                                                                                          \
#field, offsetof(struct vp_state, member.field)                                    \
	}
static const struct named_field numbers[] = {
	STATE_FIELD(regs, rax),	       STATE_FIELD(regs, rbx),	STATE_FIELD(regs, rcx),
	STATE_FIELD(regs, rdx),	       STATE_FIELD(regs, rsi),	STATE_FIELD(regs, rdi),
	STATE_FIELD(regs, rsp),	       STATE_FIELD(regs, rbp),	STATE_FIELD(regs, r8),
	STATE_FIELD(regs, r9),	       STATE_FIELD(regs, r10),	STATE_FIELD(regs, r11),
	STATE_FIELD(regs, r12),	       STATE_FIELD(regs, r13),	STATE_FIELD(regs, r14),
	STATE_FIELD(regs, r15),	       STATE_FIELD(regs, rip),	STATE_FIELD(regs, rflags),
	STATE_FIELD(sregs, cr0),       STATE_FIELD(sregs, cr2), STATE_FIELD(sregs, cr3),
	STATE_FIELD(sregs, cr4),       STATE_FIELD(sregs, cr8), STATE_FIELD(sregs, efer),
	STATE_FIELD(sregs, apic_base),
};

/* The rest as the bytes of KVM's stable structures. */
struct blob_field {
	const char *name;
	size_t offset;
	size_t size;
};
#define STATE_BLOB(name, member)                                                                   \
	{                                                                                          \
		name, offsetof(struct vp_state, member), sizeof(((struct vp_state *)0)->member)    \
	}
static const struct blob_field blobs[] = {
	STATE_BLOB("cs", sregs.cs),
	STATE_BLOB("ds", sregs.ds),
	STATE_BLOB("es", sregs.es),
	STATE_BLOB("fs", sregs.fs),
	STATE_BLOB("gs", sregs.gs),
	STATE_BLOB("ss", sregs.ss),
	STATE_BLOB("tr", sregs.tr),
	STATE_BLOB("ldt", sregs.ldt),
	STATE_BLOB("gdt", sregs.gdt),
	STATE_BLOB("idt", sregs.idt),
	STATE_BLOB("interrupt-bitmap", sregs.interrupt_bitmap),
	STATE_BLOB("fpu", fpu),
	STATE_BLOB("xcrs", xcrs),
	STATE_BLOB("lapic", lapic),
	STATE_BLOB("debug-registers", debug_regs),
	STATE_BLOB("events", events),
};

static void msr_name(uint32_t msr, char name[16])
{
	snprintf(name, 16, "msr-%08x", msr);
}

void vp_state_write(const struct vp_state *state, struct state_writer *writer)
{
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
		uint64_t value;

		memcpy(&value, (const char *)state + numbers[i].offset, sizeof(value));
		state_put_u64(writer, numbers[i].name, value);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(blobs); i++)
		state_put_bytes(writer, blobs[i].name, (const char *)state + blobs[i].offset,
				blobs[i].size);
	state_put_u32(writer, "mp-state", state->mp_state.mp_state);
	if (state->xsave)
		state_put_bytes(writer, "xsave", state->xsave, state->sizes[KVM_PART_XSAVE]);
	for (uint32_t i = 0; i < state->msrs->nmsrs; i++) {
		char name[16];

		msr_name(state->msrs->entries[i].index, name);
		state_put_u64(writer, name, state->msrs->entries[i].data);
	}
}

int vp_state_read(struct vp_state *state, const struct state_node *node)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(numbers); i++) {
		uint64_t value;

		rc = state_get_u64(node, numbers[i].name, &value);
		if (rc == 0)
			memcpy((char *)state + numbers[i].offset, &value, sizeof(value));
	}
	for (size_t i = 0; rc == 0 && i < ARRAY_LENGTH(blobs); i++)
		rc = state_get_bytes(node, blobs[i].name, (char *)state + blobs[i].offset,
				     blobs[i].size);
	if (rc == 0)
		rc = state_get_u32(node, "mp-state", &state->mp_state.mp_state);
	if (rc == 0 && state->xsave)
		rc = state_get_bytes(node, "xsave", state->xsave, state->sizes[KVM_PART_XSAVE]);
	/* One that the saving host did not have keeps its power-on value. */
	for (uint32_t i = 0; rc == 0 && i < state->msrs->nmsrs; i++) {
		uint64_t value;
		char name[16];

		msr_name(state->msrs->entries[i].index, name);
		if (state_get_u64(node, name, &value) == 0)
			state->msrs->entries[i].data = value;
	}
	return rc;
}
