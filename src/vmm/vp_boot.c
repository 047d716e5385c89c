#include "vmm/vp.h"

/* Control register bits (Intel SDM volume 3, 2.5). */
#define CR0_PE	   (1ull << 0)
#define CR0_ET	   (1ull << 4)
#define CR0_PG	   (1ull << 31)
#define CR4_PAE	   (1ull << 5)
#define EFER_LME   (1ull << 8)
#define EFER_LMA   (1ull << 10)
#define RFLAGS_ONE (1ull << 1)
/* What the 64-bit boot protocol of Linux asks for; the others take any
 * (Documentation/arch/x86/boot.rst). */
#define BOOT_CS	   0x10
#define BOOT_DS	   0x18
#define TYPE_CODE  11 /* execute, read, accessed */
#define TYPE_DATA  3  /* read, write, accessed */
#define TYPE_TSS   11 /* busy */

/* Memory types (Intel SDM volume 3, 12.11): enabled, write-back where nothing else is said. */
#define MSR_MTRR_DEFAULT 0x2ffu
#define MTRR_ENABLED	 (1u << 11)
#define MTRR_WRITE_BACK	 6u

int vp_set_firmware_msrs(struct vp *vp)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head = {.nmsrs = 1},
		.entry = {.index = MSR_MTRR_DEFAULT, .data = MTRR_ENABLED | MTRR_WRITE_BACK},
	};
	/* A KVM without that MSR says that it took none. */
	int rc = kvm_vcpu_set_msrs(vp->vcpu, &msrs.head);

	return rc < 0 ? rc : 0;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

static void set_segments(struct kvm_sregs *sregs, const struct boot_registers *boot)
{
	struct kvm_segment data = flat_segment(BOOT_DS, TYPE_DATA);

	sregs->cs = flat_segment(BOOT_CS, TYPE_CODE);
	if (boot->mode == BOOT_LONG_MODE) {
		sregs->cs.l = 1;
		sregs->cs.db = 0;
	}
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){.limit = 0x67, .type = TYPE_TSS, .present = 1};
	sregs->ldt = (struct kvm_segment){.unusable = 1};
	sregs->gdt = (struct kvm_dtable){.base = boot->gdt, .limit = boot->gdt_limit};
	sregs->idt = (struct kvm_dtable){0};
}

int vp_set_boot(struct vp *vp, const struct boot_registers *boot)
{
	const struct kvm_regs regs = {
		.rip = boot->rip,
		.rsp = boot->rsp,
		.rsi = boot->rsi,
		.rax = boot->rax,
		.rbx = boot->rbx,
		.rflags = RFLAGS_ONE,
	};
	struct kvm_sregs sregs;
	int rc = kvm_vcpu_get(vp->vcpu, KVM_PART_SREGS, &sregs);

	if (rc < 0)
		return rc;
	set_segments(&sregs, boot);
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (boot->mode == BOOT_LONG_MODE) {
		sregs.cr0 |= CR0_PG;
		sregs.cr3 = boot->cr3;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	rc = kvm_vcpu_set(vp->vcpu, KVM_PART_SREGS, &sregs);
	return rc < 0 ? rc : kvm_vcpu_set(vp->vcpu, KVM_PART_REGS, &regs);
}
