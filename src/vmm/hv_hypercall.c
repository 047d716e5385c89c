#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/checked.h"
#include "vmm/hv_internal.h"

/*
 * Hypercalls (TLFS 3).  The checks come in the order of the TLFS: the code, the control word, the
 * parameters' addresses, then the call's own parameters.  Input is copied once.
 */

#define FAST_INPUT_MAX	16u
#define CONTROL_ALLOWED (HV_CONTROL_CODE | HV_CONTROL_FAST)

typedef uint64_t (*call_function)(struct hv_vp *vp, const void *input, void *output);

/* All are simple calls: no repetitions, no variable header.  The one rep call has its own file. */
struct call {
	uint16_t code;
	uint16_t input_size;
	uint16_t output_size;
	call_function run;
};

static uint64_t port_status(int r)
{
	switch (r) {
	case 0:
		return HV_STATUS_SUCCESS;
	case -ENOENT:
		return HV_STATUS_INVALID_CONNECTION_ID;
	case -EAGAIN:
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	default:
		return HV_STATUS_INVALID_PARAMETER;
	}
}

/* A hint only: the VP's thread gives the lock holder's a chance. */
static uint64_t notify_long_spin_wait(struct hv_vp *vp, const void *input, void *output)
{
	sched_yield();
	return HV_STATUS_SUCCESS;
}

static uint64_t post_message(struct hv_vp *vp, const void *input, void *output)
{
	const struct hv_input_post_message *message = input;

	if (message->reserved || message->message_type == HV_MESSAGE_NONE ||
	    (message->message_type & HV_MESSAGE_HYPERVISOR) ||
	    message->payload_size > HV_MESSAGE_PAYLOAD_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	return port_status(hv_ports_post(vp->hv->ports, message->connection_id,
					 message->message_type, message->payload,
					 message->payload_size));
}

/* Our ports have one flag each. */
static uint64_t signal_event(struct hv_vp *vp, const void *input, void *output)
{
	const struct hv_input_signal_event *event = input;

	if (event->flag_number || event->reserved)
		return HV_STATUS_INVALID_PARAMETER;
	return port_status(hv_ports_signal(vp->hv->ports, event->connection_id));
}

static uint64_t query_capabilities(struct hv_vp *vp, const void *input, void *output)
{
	const uint64_t capabilities =
		vp->hv->config.cold_discard ? HV_EXT_CAPABILITY_COLD_DISCARD : 0;

	memcpy(output, &capabilities, sizeof(capabilities));
	return HV_STATUS_SUCCESS;
}

static const struct call calls[] = {
	{HV_CALL_NOTIFY_LONG_SPIN_WAIT, sizeof(uint64_t), 0, notify_long_spin_wait},
	{HV_CALL_POST_MESSAGE, sizeof(struct hv_input_post_message), 0, post_message},
	{HV_CALL_SIGNAL_EVENT, sizeof(struct hv_input_signal_event), 0, signal_event},
	{HV_EXT_CALL_QUERY_CAPABILITIES, 0, sizeof(uint64_t), query_capabilities},
};

/* The registers by their role, the same for both kinds of caller. */
struct request {
	uint64_t control;
	uint64_t input;	 /* a GPA, or the first 8 bytes of a fast call */
	uint64_t output; /* a GPA, or the next 8 bytes */
};

static struct request request_of(const struct hv_hypercall_regs *regs)
{
	if (regs->long_mode)
		return (struct request){regs->rcx, regs->rdx, regs->r8};
	return (struct request){
		.control = regs->rdx << 32 | (uint32_t)regs->rax,
		.input = regs->rbx << 32 | (uint32_t)regs->rcx,
		.output = regs->rdi << 32 | (uint32_t)regs->rsi,
	};
}

static bool lies_well(const struct hv_vp *vp, uint64_t gpa, size_t size, enum gpa_access access)
{
	return is_aligned(gpa, 8) && size <= HV_PAGE_SIZE - (gpa & (HV_PAGE_SIZE - 1)) &&
	       gpa_pointer(vp->hv->config.gpa, gpa, size, access);
}

static uint64_t run_fast(struct hv_vp *vp, const struct call *call, const struct request *request)
{
	uint64_t input[FAST_INPUT_MAX / 8] = {request->input, request->output};

	if (call->input_size > FAST_INPUT_MAX || call->output_size)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	return call->run(vp, input, NULL);
}

static uint64_t run_memory(struct hv_vp *vp, const struct call *call, const struct request *request)
{
	_Alignas(8) uint8_t input[sizeof(struct hv_input_post_message)];
	uint64_t output;
	uint64_t status;

	if (call->input_size && !lies_well(vp, request->input, call->input_size, GPA_READ))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (call->output_size && !lies_well(vp, request->output, call->output_size, GPA_WRITE))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (call->input_size &&
	    gpa_read(vp->hv->config.gpa, request->input, input, call->input_size) < 0)
		return HV_STATUS_INVALID_ALIGNMENT;
	status = call->run(vp, input, &output);
	if (status == HV_STATUS_SUCCESS && call->output_size &&
	    gpa_write(vp->hv->config.gpa, request->output, &output, call->output_size) < 0)
		return HV_STATUS_INVALID_ALIGNMENT;
	return status;
}

static const struct call *find(uint64_t code)
{
	for (size_t i = 0; i < ARRAY_LENGTH(calls); i++) {
		if (calls[i].code == code)
			return &calls[i];
	}
	return NULL;
}

/* Real hardware has no page to call then (#UD); here the ports are always within reach. */
static bool enabled(const struct hv_vp *vp)
{
	return atomic_load(&vp->hv->hypercall) & HV_OVERLAY_ENABLE;
}

static uint64_t run(struct hv_vp *vp, const struct request *request)
{
	const struct call *call = find(request->control & HV_CONTROL_CODE);

	if (!enabled(vp))
		return HV_STATUS_ACCESS_DENIED;
	if ((request->control & HV_CONTROL_CODE) == HV_EXT_CALL_MEMORY_HEAT_HINT)
		return hv_memory_heat_hint(vp, request->control, request->input);
	if (!call)
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	if (request->control & ~CONTROL_ALLOWED)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (request->control & HV_CONTROL_FAST)
		return run_fast(vp, call, request);
	return run_memory(vp, call, request);
}

void hv_hypercall(struct hv_vp *vp, struct hv_hypercall_regs *regs)
{
	struct request request = request_of(regs);

	regs->rax = run(vp, &request);
	if (!regs->long_mode) {
		regs->rdx = regs->rax >> 32;
		regs->rax = (uint32_t)regs->rax;
	}
}

uint64_t hv_doorbell_miss(struct hv_vp *vp, uint32_t connection_id)
{
	if (!enabled(vp))
		return HV_STATUS_ACCESS_DENIED;
	return port_status(hv_ports_signal(vp->hv->ports, connection_id));
}
