#include <errno.h>

#include "hv_fuzz.h"
#include "vmm/hv_ports.h"
#include "vmm/hv_tlfs.h"

/* Hypercalls with any registers and any bytes behind them; only TLFS statuses may come back. */

#define INPUT_GPA  0x3000u
#define CALL_PAGE  0x1000u
#define CALLS_MAX  64
#define MESSAGE_ID 4u
#define GUEST_ID   0x8100000000000000ull

static struct hv_fuzz f;

/* Touches all that it was given: the sanitisers see if it is less than it should be. */
static int on_message(void *context, uint32_t message_type, const void *payload, size_t size)
{
	const uint8_t *bytes = payload;
	unsigned int sum = 0;

	if (size > HV_MESSAGE_PAYLOAD_MAX || message_type == 0 || message_type >> 31)
		abort();
	for (size_t i = 0; i < size; i++)
		sum += bytes[i];
	return sum % 3 == 0 ? 0 : sum % 3 == 1 ? -EAGAIN : -EINVAL;
}

static void check_status(uint64_t status)
{
	switch ((uint16_t)status) {
	case HV_STATUS_SUCCESS:
	case HV_STATUS_INVALID_HYPERCALL_CODE:
	case HV_STATUS_INVALID_HYPERCALL_INPUT:
	case HV_STATUS_INVALID_ALIGNMENT:
	case HV_STATUS_INVALID_PARAMETER:
	case HV_STATUS_INVALID_CONNECTION_ID:
	case HV_STATUS_INSUFFICIENT_BUFFERS:
		return;
	default:
		abort();
	}
}

static uint64_t control_of(uint8_t choice, struct fuzz_input *input)
{
	static const uint16_t codes[] = {
		HV_CALL_NOTIFY_LONG_SPIN_WAIT,
		HV_CALL_POST_MESSAGE,
		HV_CALL_SIGNAL_EVENT,
		HV_EXT_CALL_QUERY_CAPABILITIES,
	};

	/* Four ranges, of which some may be done. */
	if ((choice & 0x90) == 0x10)
		return HV_EXT_CALL_MEMORY_HEAT_HINT | 4ull << 32 | (uint64_t)(choice & 7) << 48;

	if (choice & 0x80)
		return fuzz_u64(input);
	return codes[choice % 4] | (choice & 0x40 ? HV_CONTROL_FAST : 0);
}

/* Mostly near the input page, so that the calls themselves are reached. */
static uint64_t gpa_of(struct fuzz_input *input)
{
	uint64_t value = fuzz_u64(input);

	return value >> 63 ? value : INPUT_GPA + (value & 0xfff);
}

static void call(struct fuzz_input *input)
{
	const uint8_t choice = fuzz_u8(input);
	struct hv_hypercall_regs regs = {.long_mode = !(choice & 0x20)};
	uint64_t control = control_of(choice, input);
	uint64_t in = gpa_of(input);
	uint64_t out = gpa_of(input);

	regs.rcx = regs.long_mode ? control : (uint32_t)in;
	regs.rdx = regs.long_mode ? in : control >> 32;
	regs.r8 = out;
	regs.rax = (uint32_t)control;
	regs.rbx = in >> 32;
	regs.rdi = out >> 32;
	regs.rsi = (uint32_t)out;
	hv_hypercall(hv_fuzz_vp(&f, 0), &regs);
	check_status(regs.rax);
	check_status(hv_doorbell_miss(hv_fuzz_vp(&f, 0), (uint32_t)in));
}

static void set_up(void)
{
	hv_fuzz_new(&f);
	hv_ports_add_message(hv_partition_ports(f.hv), MESSAGE_ID, on_message, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	if (!f.hv)
		set_up();
	hv_fuzz_restart(&f);
	hv_msr_write(hv_fuzz_vp(&f, 0), HV_MSR_GUEST_OS_ID, GUEST_ID);
	hv_msr_write(hv_fuzz_vp(&f, 0), HV_MSR_HYPERCALL, CALL_PAGE | HV_OVERLAY_ENABLE);
	for (unsigned int i = 0; i < CALLS_MAX && input.size; i++) {
		uint8_t page[sizeof(struct hv_input_post_message)] = {0};

		fuzz_take(&input, page, fuzz_u8(&input) % sizeof(page));
		gpa_write(f.gpa, INPUT_GPA, page, sizeof(page));
		call(&input);
	}
	return 0;
}
