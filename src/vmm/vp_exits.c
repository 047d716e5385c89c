#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/machine.h"
#include "vmm/vp.h"

#define PAGE_MASK     0xfffull
#define EFER_LMA      (1ull << 10)
#define DOORBELL_SIZE 4

static const char *const exit_names[] = {
	[VP_EXIT_PORT] = "port",
	[VP_EXIT_MMIO] = "mmio",
	[VP_EXIT_MSR_READ] = "msr-read",
	[VP_EXIT_MSR_WRITE] = "msr-write",
	[VP_EXIT_HYPERCALL] = "hypercall",
	[VP_EXIT_HALT] = "halt",
	[VP_EXIT_INTERRUPTED] = "interrupted",
	[VP_EXIT_OTHER] = "other",
};

const char *vp_exit_name(enum vp_exit kind)
{
	return exit_names[kind];
}

/* The VP waits for a reset, others may go on; the sentence says why. */
static void fail(struct vp *vp, const char *what, uint64_t code)
{
	struct kvm_regs regs = {0};
	char sentence[256];

	vp->stopped = true;
	kvm_vcpu_get(vp->vcpu, KVM_PART_REGS, &regs);
	snprintf(sentence, sizeof(sentence),
		 "KVM cannot go on with VP %u at RIP 0x%" PRIx64 ": %s (0x%" PRIx64 ")", vp->index,
		 (uint64_t)regs.rip, what, code);
	vp->group->events->failed(vp->group->context, sentence);
}

void vp_handle_failure(struct vp *vp, int rc)
{
	vp_count(vp, VP_EXIT_OTHER);
	fail(vp, strerror(-rc), (uint64_t)-rc);
}

static int get_regs(struct vp *vp, struct kvm_regs *regs)
{
	if (!vp->group->sync_regs)
		return kvm_vcpu_get(vp->vcpu, KVM_PART_REGS, regs);
	*regs = vp->run->s.regs.regs;
	return 0;
}

static void set_regs(struct vp *vp, const struct kvm_regs *regs)
{
	if (!vp->group->sync_regs) {
		kvm_vcpu_set(vp->vcpu, KVM_PART_REGS, regs);
		return;
	}
	vp->run->s.regs.regs = *regs;
	vp->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

static void hypercall(struct vp *vp)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct hv_hypercall_regs call;

	if (get_regs(vp, &regs) < 0 || kvm_vcpu_get(vp->vcpu, KVM_PART_SREGS, &sregs) < 0)
		return;
	call = (struct hv_hypercall_regs){
		.long_mode = sregs.efer & EFER_LMA && sregs.cs.l,
		.rax = regs.rax,
		.rbx = regs.rbx,
		.rcx = regs.rcx,
		.rdx = regs.rdx,
		.rsi = regs.rsi,
		.rdi = regs.rdi,
		.r8 = regs.r8,
	};
	hv_hypercall(vp->hv, &call);
	regs.rax = call.rax;
	regs.rdx = call.rdx;
	set_regs(vp, &regs);
}

/*
 * No ioeventfd took the id: the call ends with a status.  The page would go on to clear RAX
 * and return, so the VP is put on the return itself.  RIP may be on the OUT (KVM would step over
 * it later, but not once RIP has changed) or past it; both lie in the hypercall page.
 */
static void doorbell_miss(struct vp *vp, uint32_t connection_id)
{
	struct kvm_regs regs;

	if (get_regs(vp, &regs) < 0)
		return;
	regs.rax = hv_doorbell_miss(vp->hv, connection_id);
	regs.rip = (regs.rip & ~PAGE_MASK) | hv_page_doorbell_return();
	set_regs(vp, &regs);
}

static bool is_hypercall_port(const struct kvm_run *run)
{
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.count != 1)
		return false;
	return run->io.port == MACHINE_PORT_HV_CALL ||
	       (run->io.port == MACHINE_PORT_HV_DOORBELL && run->io.size == DOORBELL_SIZE);
}

static void hypercall_port(struct vp *vp)
{
	const struct kvm_run *run = vp->run;
	uint32_t connection_id;

	vp_count(vp, VP_EXIT_HYPERCALL);
	if (run->io.port == MACHINE_PORT_HV_CALL) {
		hypercall(vp);
		return;
	}
	memcpy(&connection_id, (const char *)run + run->io.data_offset, sizeof(connection_id));
	doorbell_miss(vp, connection_id);
}

static void exit_port(struct vp *vp)
{
	struct kvm_run *run = vp->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	if (is_hypercall_port(run)) {
		hypercall_port(vp);
		return;
	}
	vp_count(vp, VP_EXIT_PORT);
	for (uint32_t left = run->io.count; left > 0;) {
		struct io_access access = {
			.vp = vp,
			.address = run->io.port,
			.size = run->io.size,
			.write = run->io.direction == KVM_EXIT_IO_OUT,
			.string = left > 1 ? data : NULL,
			.count = left,
		};

		if (access.write)
			memcpy(&access.value, data, run->io.size);
		io_bus_dispatch(vp->group->ports, &access);
		if (!access.write && access.done == 0)
			memcpy(data, &access.value, run->io.size);
		access.done = MAX(access.done, 1u);
		data += (size_t)access.done * run->io.size;
		left -= access.done;
	}
}

static void exit_mmio(struct vp *vp)
{
	struct kvm_run *run = vp->run;
	struct io_access access = {
		.vp = vp,
		.address = run->mmio.phys_addr,
		.size = MIN(run->mmio.len, 8u),
		.write = run->mmio.is_write,
	};

	vp_count(vp, VP_EXIT_MMIO);
	if (access.write)
		memcpy(&access.value, run->mmio.data, access.size);
	/* KVM cuts an access that crosses a page into odd parts: no device of ours has those. */
	if (access.size & (access.size - 1))
		access.value = UINT64_MAX;
	else
		io_bus_dispatch(vp->group->mmio, &access);
	if (!access.write)
		memcpy(run->mmio.data, &access.value, access.size);
}

static void exit_msr_read(struct vp *vp)
{
	struct kvm_run *run = vp->run;
	uint64_t value = 0;

	vp_count(vp, VP_EXIT_MSR_READ);
	run->msr.error = !hv_msr_read(vp->hv, run->msr.index, &value);
	run->msr.data = value;
}

static void exit_msr_write(struct vp *vp)
{
	struct kvm_run *run = vp->run;

	vp_count(vp, VP_EXIT_MSR_WRITE);
	run->msr.error = !hv_msr_write(vp->hv, run->msr.index, run->msr.data);
	/* A VP that asked for a reset runs no further instruction. */
	if (atomic_exchange(&vp->group->hv_reset, false))
		vp->stopped = true;
}

static void exit_halt(struct vp *vp)
{
	vp_count(vp, VP_EXIT_HALT);
}

static void exit_interrupted(struct vp *vp)
{
	vp_count(vp, VP_EXIT_INTERRUPTED);
}

/* A triple fault. */
static void exit_shutdown(struct vp *vp)
{
	vp_count(vp, VP_EXIT_OTHER);
	vp->stopped = true;
	vp->group->events->reset(vp->group->context);
}

static void exit_fail_entry(struct vp *vp)
{
	vp_count(vp, VP_EXIT_OTHER);
	fail(vp, "the processor refuses to enter the guest",
	     vp->run->fail_entry.hardware_entry_failure_reason);
}

static void exit_internal_error(struct vp *vp)
{
	uint32_t suberror = vp->run->internal.suberror;

	vp_count(vp, VP_EXIT_OTHER);
	fail(vp,
	     suberror == KVM_INTERNAL_ERROR_EMULATION ? "an instruction it cannot emulate"
						      : "an internal error",
	     suberror);
}

static void (*const handlers[])(struct vp *vp) = {
	[KVM_EXIT_IO] = exit_port,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_X86_RDMSR] = exit_msr_read,
	[KVM_EXIT_X86_WRMSR] = exit_msr_write,
	[KVM_EXIT_HLT] = exit_halt,
	[KVM_EXIT_INTR] = exit_interrupted,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal_error,
};

void vp_handle_exit(struct vp *vp)
{
	uint32_t reason = vp->run->exit_reason;

	if (reason < ARRAY_LENGTH(handlers) && handlers[reason]) {
		handlers[reason](vp);
		return;
	}
	vp_count(vp, VP_EXIT_OTHER);
	fail(vp, "an exit that it gives no meaning here", reason);
}
