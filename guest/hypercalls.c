/* Every hypercall we offer, and the TLFS status for every one that is wrong. */
#include "lib/hv.h"
#include "lib/rt.h"

#define UNKNOWN_CONNECTION	 0x123456
#define VMBUS_MESSAGE_CONNECTION 1
#define BEYOND_RAM		 0x7ffffff000UL

struct call32 {
	uint64_t control, input, result, page;
};

extern void call32(void);
void call_in_32bit(void (*code32)(void), void *arg);

static struct hv_post_message msg __attribute__((aligned(4096)));
static uint64_t words[512] __attribute__((aligned(4096)));

static uint16_t status(uint64_t control, uint64_t input, uint64_t output)
{
	return (uint16_t)hv_call(control, input, output);
}

static uint16_t post(uint32_t connection, uint32_t type, uint32_t size)
{
	msg = (struct hv_post_message){.connection = connection, .type = type, .size = size};
	return status(HV_CALL_POST_MESSAGE, (uint64_t)&msg, 0);
}

static void check_unknown_codes(void)
{
	static const uint16_t codes[] = {0x0000, 0x0001, 0x0002, 0x0003, 0x000b, 0x0046, 0x0050,
					 0x00ff, 0x0200, 0x7fff, 0x8000, 0x9000, 0xffff};
	unsigned wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		uint16_t memory = status(codes[i], (uint64_t)words, (uint64_t)words);
		uint16_t fast = status(codes[i] | HV_CALL_FAST, 0, 0);

		if (memory == HV_STATUS_INVALID_HYPERCALL_CODE &&
		    fast == HV_STATUS_INVALID_HYPERCALL_CODE)
			continue;
		tap_diag("call 0x%x: status %u, fast %u", codes[i], memory, fast);
		wrong++;
	}
	tap_is(wrong, 0, "calls we do not offer give HV_STATUS_INVALID_HYPERCALL_CODE");
}

static void check_control_word(void)
{
	uint64_t call = HV_CALL_NOTIFY_LONG_SPIN_WAIT | HV_CALL_FAST;

	tap_is(status(call | 1UL << 27, 0, 0), HV_STATUS_INVALID_HYPERCALL_INPUT,
	       "a reserved bit of the control word (27)");
	tap_is(status(call | 1UL << 60, 0, 0), HV_STATUS_INVALID_HYPERCALL_INPUT,
	       "a reserved bit of the control word (60)");
	tap_is(status(call | 1UL << 32, 0, 0), HV_STATUS_INVALID_HYPERCALL_INPUT,
	       "a repeat count on a simple call");
	tap_is(status(call | 1UL << 48, 0, 0), HV_STATUS_INVALID_HYPERCALL_INPUT,
	       "a repeat start on a simple call");
}

static void check_post_message(void)
{
	tap_is(post(UNKNOWN_CONNECTION, 1, 16), HV_STATUS_INVALID_CONNECTION_ID,
	       "PostMessage to an unknown connection");
	tap_is(post(VMBUS_MESSAGE_CONNECTION, 1, 241), HV_STATUS_INVALID_PARAMETER,
	       "PostMessage of 241 bytes");
	tap_is(post(VMBUS_MESSAGE_CONNECTION, 1, 0xffffffff), HV_STATUS_INVALID_PARAMETER,
	       "PostMessage of 4 GiB less one");
	tap_is(post(VMBUS_MESSAGE_CONNECTION, 0x80000001, 16), HV_STATUS_INVALID_PARAMETER,
	       "PostMessage of a type that is the hypervisor's");
	tap_is(status(HV_CALL_POST_MESSAGE, (uint64_t)&msg + 4, 0), HV_STATUS_INVALID_ALIGNMENT,
	       "PostMessage from an address that is not 8-byte aligned");
	tap_ok(status(HV_CALL_POST_MESSAGE, (uint64_t)words + 4096 - 8, 0) != HV_STATUS_SUCCESS,
	       "PostMessage whose input crosses a page");
	tap_ok(status(HV_CALL_POST_MESSAGE, BEYOND_RAM, 0) != HV_STATUS_SUCCESS,
	       "PostMessage from beyond RAM");
	tap_ok(status(HV_CALL_POST_MESSAGE, 0xfffffffffffffff8UL, 0) != HV_STATUS_SUCCESS,
	       "PostMessage from the end of the address space");
	tap_ok(status(HV_CALL_POST_MESSAGE | HV_CALL_FAST, 0, 0) != HV_STATUS_SUCCESS,
	       "PostMessage has no fast form");
}

static void check_signal_event(void)
{
	words[0] = UNKNOWN_CONNECTION;
	tap_is(status(HV_CALL_SIGNAL_EVENT, (uint64_t)words, 0), HV_STATUS_INVALID_CONNECTION_ID,
	       "SignalEvent, memory form, to an unknown connection");
	tap_is(hv_signal(UNKNOWN_CONNECTION, 0), HV_STATUS_INVALID_CONNECTION_ID,
	       "SignalEvent, fast form, to an unknown connection");
	tap_is(hv_signal(0, 0), HV_STATUS_INVALID_CONNECTION_ID, "SignalEvent to connection 0");
	tap_ok(hv_signal(UNKNOWN_CONNECTION, 5) != HV_STATUS_SUCCESS,
	       "SignalEvent with a flag number");
	tap_is(status(HV_CALL_SIGNAL_EVENT, (uint64_t)words + 1, 0), HV_STATUS_INVALID_ALIGNMENT,
	       "SignalEvent from an odd address");
	tap_ok(status(HV_CALL_SIGNAL_EVENT, BEYOND_RAM, 0) != HV_STATUS_SUCCESS,
	       "SignalEvent from beyond RAM");
	/* 0x1005d is what the hypercall page compares with: bits above must not reach its path. */
	tap_is(status(HV_CALL_SIGNAL_EVENT | HV_CALL_FAST | 1UL << 60, 1, 0),
	       HV_STATUS_INVALID_HYPERCALL_INPUT, "SignalEvent with a reserved control bit");
}

static void check_rest(void)
{
	words[0] = 1000;
	tap_is(status(HV_CALL_NOTIFY_LONG_SPIN_WAIT, (uint64_t)words, 0), HV_STATUS_SUCCESS,
	       "NotifyLongSpinWait, memory form");
	tap_is(status(HV_CALL_NOTIFY_LONG_SPIN_WAIT | HV_CALL_FAST, 1000, 0), HV_STATUS_SUCCESS,
	       "NotifyLongSpinWait, fast form");
	words[1] = ~0UL;
	tap_is(status(HV_CALL_EXT_QUERY_CAPABILITIES, 0, (uint64_t)&words[1]), HV_STATUS_SUCCESS,
	       "the extended capability query");
	tap_ok(words[1] != ~0UL, "its answer (0x%lx) is stored", words[1]);
	tap_is(status(HV_CALL_EXT_QUERY_CAPABILITIES, 0, (uint64_t)words + 4),
	       HV_STATUS_INVALID_ALIGNMENT, "its output must be aligned");
	tap_ok(status(HV_CALL_EXT_QUERY_CAPABILITIES, 0, BEYOND_RAM) != HV_STATUS_SUCCESS,
	       "its output must be RAM");
}

/* The page may change RAX, RCX, RDX, R8-R11 and flags; all else must survive. */
static void check_registers(uint64_t control, const char *what)
{
	register uint64_t r12 __asm__("r12") = 12, r13 __asm__("r13") = 13;
	register uint64_t r14 __asm__("r14") = 14, r15 __asm__("r15") = 15;
	uint64_t rbx = 3, rsi = 6, rdi = 7, rax, input = UNKNOWN_CONNECTION;

	__asm__ volatile("call *%%rax"
			 : "=a"(rax), "+b"(rbx), "+S"(rsi), "+D"(rdi), "+c"(control), "+d"(input),
			   "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
			 : "0"(hv_hypercall_page())
			 : "memory", "cc", "r8", "r9", "r10", "r11");
	tap_ok(rbx == 3 && rsi == 6 && rdi == 7 && r12 == 12 && r13 == 13 && r14 == 14 && r15 == 15,
	       "%s keeps the callee's registers", what);
}

static uint16_t status32(uint64_t control, uint64_t input)
{
	static struct call32 c;

	c = (struct call32){.control = control,
			    .input = input,
			    .result = ~0UL,
			    .page = hv_hypercall_page() | HV_PAGE_ENABLE};
	call_in_32bit(call32, &c);
	return (uint16_t)c.result;
}

static void check_32bit(void)
{
	wrmsr(HV_MSR_HYPERCALL, hv_hypercall_page());
	tap_is(status32(HV_CALL_SIGNAL_EVENT | HV_CALL_FAST, UNKNOWN_CONNECTION),
	       HV_STATUS_INVALID_CONNECTION_ID, "32-bit: SignalEvent, fast form");
	tap_is(status32(0x00ff, 0), HV_STATUS_INVALID_HYPERCALL_CODE, "32-bit: an unknown call");
	tap_is(status32(HV_CALL_NOTIFY_LONG_SPIN_WAIT | HV_CALL_FAST, 1), HV_STATUS_SUCCESS,
	       "32-bit: NotifyLongSpinWait");
	msg = (struct hv_post_message){.connection = UNKNOWN_CONNECTION, .type = 1, .size = 8};
	tap_is(status32(HV_CALL_POST_MESSAGE, (uint64_t)&msg), HV_STATUS_INVALID_CONNECTION_ID,
	       "32-bit: PostMessage");
	wrmsr(HV_MSR_HYPERCALL, hv_hypercall_page());
	wrmsr(HV_MSR_HYPERCALL, hv_hypercall_page() | HV_PAGE_ENABLE);
	tap_is(hv_signal(UNKNOWN_CONNECTION, 0), HV_STATUS_INVALID_CONNECTION_ID,
	       "and 64-bit calls work again after a re-enabling");
}

void payload_main(void)
{
	hv_enable();
	check_unknown_codes();
	check_control_word();
	check_post_message();
	check_signal_event();
	check_rest();
	check_registers(HV_CALL_SIGNAL_EVENT | HV_CALL_FAST, "the doorbell path");
	check_registers(HV_CALL_NOTIFY_LONG_SPIN_WAIT | HV_CALL_FAST, "the exiting path");
	check_32bit();
}
