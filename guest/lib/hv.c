#include "lib/hv.h"
#include "lib/rt.h"

_Static_assert(sizeof(struct hv_message) == 256, "TLFS: a message is 256 bytes");

static uint8_t *hypercall_page;

uint64_t hv_hypercall_page(void)
{
	return (uint64_t)hypercall_page;
}

void hv_enable(void)
{
	uint64_t v = 0;

	hypercall_page = page_alloc(1);
	if (wrmsr_safe(HV_MSR_GUEST_OS_ID, HV_OS_ID))
		tap_bail("no Hyper-V interface here: GUEST_OS_ID cannot be written");
	wrmsr(HV_MSR_HYPERCALL, (uint64_t)hypercall_page | HV_PAGE_ENABLE);
	if (rdmsr_safe(HV_MSR_HYPERCALL, &v) || !(v & HV_PAGE_ENABLE))
		tap_bail("the hypercall page did not become enabled: 0x%lx", v);
}

uint64_t hv_call(uint64_t control, uint64_t input, uint64_t output)
{
	register uint64_t r8 __asm__("r8") = output;
	uint64_t result;

	__asm__ volatile("call *%4"
			 : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
			 : "r"(hypercall_page)
			 : "memory", "cc", "r9", "r10", "r11");
	return result;
}

uint16_t hv_post(uint32_t connection, uint32_t type, const void *payload, uint32_t size)
{
	static struct hv_post_message msgs[MAX_CPUS] __attribute__((aligned(4096)));
	struct hv_post_message *m = &msgs[cpu_number()];

	m->connection = connection;
	m->reserved = 0;
	m->type = type;
	m->size = size;
	memcpy(m->payload, payload, size < HV_MESSAGE_PAYLOAD ? size : HV_MESSAGE_PAYLOAD);
	return (uint16_t)hv_call(HV_CALL_POST_MESSAGE, (uint64_t)m, 0);
}

uint16_t hv_signal(uint32_t connection, uint16_t flag)
{
	return (uint16_t)hv_call(HV_CALL_SIGNAL_EVENT | HV_CALL_FAST,
				 connection | (uint64_t)flag << 32, 0);
}

uint64_t hv_time(void)
{
	return rdmsr(HV_MSR_TIME_REF_COUNT);
}

uint64_t hv_tsc_page_time(const struct hv_tsc_page *page, uint64_t tsc)
{
	return mul_shift64(tsc, page->scale) + (uint64_t)page->offset;
}

void synic_enable(struct hv_synic *s)
{
	for (unsigned i = 0; i < HV_SINTS; i++)
		wrmsr(HV_MSR_SINT0 + i, HV_SINT_MASKED | 0x20);
	s->messages = page_alloc(1);
	s->events = page_alloc(1);
	wrmsr(HV_MSR_SIMP, (uint64_t)s->messages | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SIEFP, (uint64_t)s->events | HV_PAGE_ENABLE);
	wrmsr(HV_MSR_SCONTROL, 1);
}

void synic_disable(struct hv_synic *s)
{
	for (unsigned i = 0; i < HV_SINTS; i++)
		wrmsr(HV_MSR_SINT0 + i, HV_SINT_MASKED | 0x20);
	wrmsr(HV_MSR_SCONTROL, 0);
	wrmsr(HV_MSR_SIMP, 0);
	wrmsr(HV_MSR_SIEFP, 0);
}

void synic_sint(unsigned sint, unsigned vector)
{
	wrmsr(HV_MSR_SINT0 + sint, vector);
}

bool synic_take(struct hv_synic *s, unsigned sint, struct hv_message *out)
{
	struct hv_message *m = &s->messages->sint[sint];
	bool pending;

	if (__atomic_load_n(&m->type, __ATOMIC_ACQUIRE) == HV_MESSAGE_NONE)
		return false;
	if (out)
		memcpy(out, m, sizeof(*m));
	__atomic_store_n(&m->type, HV_MESSAGE_NONE, __ATOMIC_RELEASE);
	/* The flag must be read after the slot is free, or a wake-up can be missed (TLFS 11.10). */
	full_fence();
	pending = __atomic_load_n(&m->flags, __ATOMIC_ACQUIRE) & HV_MESSAGE_PENDING;
	if (pending)
		wrmsr(HV_MSR_EOM, 0);
	return true;
}
