#include <string.h>

#include "vmm/hv_internal.h"
#include "vmm/machine.h"

/*
 * The hypercall page (TLFS 3.13).  Its code is ours to choose, and port I/O is what every KVM
 * handles: a doorbell port with an ioeventfd for each channel, so that SignalEvent does not
 * leave the kernel, and a port that exits for all other calls.
 */

/* 64-bit callers: RCX = control, RDX = input, R8 = output; RAX returns, RAX and RDX are lost. */
static const uint8_t page_64[] = {
	0xf3, 0x0f,
	0x1e, 0xfa, /* 00: endbr64 */
	0x48, 0x81,
	0xf9, 0x5d,
	0x00, 0x01,
	0x00,	    /* 04: cmp rcx, SignalEvent | fast */
	0x75, 0x10, /* 0b: jne 1d */
	0x48, 0x89,
	0xd0, /* 0d: mov rax, rdx */
	0x48, 0xc1,
	0xe8, 0x20,			/* 10: shr rax, 32: flag number, reserved */
	0x75, 0x07,			/* 14: jnz 1d */
	0x89, 0xd0,			/* 16: mov eax, edx: the connection id */
	0xe7, MACHINE_PORT_HV_DOORBELL, /* 18: out DOORBELL, eax */
	0x31, 0xc0,			/* 1a: xor eax, eax: HV_STATUS_SUCCESS */
	0xc3,				/* 1c: ret */
	0xe7, MACHINE_PORT_HV_CALL,	/* 1d: out CALL, eax */
	0xc3,				/* 1f: ret */
};
#define DOORBELL_RETURN 0x1c

/* 32-bit callers: EDX:EAX = control, EBX:ECX = input, EDI:ESI = output; EDX:EAX returns. */
static const uint8_t page_32[] = {
	0xf3, 0x0f,
	0x1e, 0xfb,		    /* endbr32 */
	0xe7, MACHINE_PORT_HV_CALL, /* out CALL, eax */
	0xc3,			    /* ret */
};

#define INT3 0xcc

uint16_t hv_page_doorbell_return(void)
{
	return DOORBELL_RETURN;
}

static int fill_page(const struct hv_partition *hv, uint64_t gpa, bool long_mode)
{
	uint8_t page[HV_PAGE_SIZE];

	memset(page, INT3, sizeof(page));
	if (long_mode)
		memcpy(page, page_64, sizeof(page_64));
	else
		memcpy(page, page_32, sizeof(page_32));
	return gpa_write(hv->config.gpa, gpa, page, sizeof(page));
}

static bool set_hypercall(struct hv_partition *hv, uint64_t value, bool long_mode)
{
	uint64_t old = atomic_load(&hv->hypercall);

	if (old & HV_HYPERCALL_LOCKED)
		return value == old;
	/* Without an identity the page cannot be enabled: the bit just stays clear. */
	if (!hv->guest_os_id)
		value &= ~HV_OVERLAY_ENABLE;
	if ((value & HV_OVERLAY_ENABLE) && fill_page(hv, value & HV_OVERLAY_GPA, long_mode) < 0)
		return false;
	atomic_store(&hv->hypercall, value);
	return true;
}

bool hv_page_msr_write(struct hv_vp *vp, uint32_t index, uint64_t value)
{
	struct hv_partition *hv = vp->hv;
	bool long_mode = hv->config.events->long_mode(hv->config.context, vp->index);
	bool ok;

	pthread_mutex_lock(&hv->lock);
	ok = set_hypercall(hv, value, long_mode);
	pthread_mutex_unlock(&hv->lock);
	return ok;
}
