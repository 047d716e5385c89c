#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vmm/hv_synic.h"
#include "vmm/hv_tlfs.h"
#include "vsc_machine.h"

#define RING_PAGES   32u
#define HALT_POLL_NS 200000
#define HALT_SPINS   64u /* between looks at the clock */
#define HALT_MS	     10

/* The frames of both rings, one after the other or with gaps, backwards. */
static void ring_frames(struct vsc *vsc, const struct vsc_open *open, uint32_t count,
			uint64_t *frames)
{
	uint64_t first = vsc_pages(vsc, open->scattered ? 2 * count : count) / VMBUS_PAGE_SIZE;

	for (uint32_t i = 0; i < count; i++)
		frames[i] = open->scattered ? first + 2 * (count - 1 - i) : first + i;
}

static uint32_t request_open(struct vsc_channel *channel, const struct vsc_open *open,
			     uint32_t ring_pages)
{
	struct vsc *vsc = channel->vsc;
	struct vmbus_open_channel request = {
		.header.type = VMBUS_MESSAGE_OPEN_CHANNEL,
		.relid = channel->relid,
		.open_id = ++vsc->next_open_id,
		.ring_gpadl = channel->gpadl,
		.target_vp = open->target_vp,
		.downstream_page_offset = ring_pages,
	};
	_Alignas(8) uint8_t answer[VMBUS_MESSAGE_MAX];
	const struct vmbus_open_result *result = (void *)answer;

	if (open->user_data)
		memcpy(request.user_data, open->user_data, sizeof(request.user_data));
	vsc_send(vsc, &request, sizeof(request));
	do
		vsc_wait_message(vsc, VMBUS_MESSAGE_OPEN_RESULT, answer);
	while (result->relid != channel->relid || result->open_id != request.open_id);
	return result->status;
}

uint32_t vsc_channel_open(struct vsc *vsc, const struct vmbus_offer_channel *offer,
			  const struct vsc_open *open, struct vsc_channel *channel)
{
	static const struct vsc_open usual;
	uint32_t pages, status;
	uint64_t *frames;

	open = open ? open : &usual;
	pages = open->ring_pages ? open->ring_pages : RING_PAGES;
	*channel = (struct vsc_channel){
		.vsc = vsc,
		.relid = offer->relid,
		.connection_id = offer->connection_id,
		.target_vp = open->target_vp,
	};
	frames = calloc(2 * pages, sizeof(frames[0]));
	if (!frames)
		vsc_fail("no memory");
	ring_frames(vsc, open, 2 * pages, frames);
	if (vsc_ring_init(&channel->out, vsc->gpa, frames, pages) ||
	    vsc_ring_init(&channel->in, vsc->gpa, frames + pages, pages))
		vsc_fail("no rings");
	status = vsc_gpadl_create(vsc, offer->relid, frames, 2 * pages, &channel->gpadl);
	free(frames);
	if (status) {
		vsc_channel_forget(channel);
		return status;
	}
	status = request_open(channel, open, pages);
	if (status) {
		vsc_gpadl_teardown(vsc, channel->relid, channel->gpadl);
		vsc_channel_forget(channel);
	}
	return status;
}

void vsc_channel_forget(struct vsc_channel *channel)
{
	vsc_ring_cleanup(&channel->out);
	vsc_ring_cleanup(&channel->in);
}

void vsc_channel_close(struct vsc_channel *channel)
{
	const struct vmbus_relid_message message = {
		.header.type = VMBUS_MESSAGE_CLOSE_CHANNEL,
		.relid = channel->relid,
	};

	vsc_send(channel->vsc, &message, sizeof(message));
	vsc_gpadl_teardown(channel->vsc, channel->relid, channel->gpadl);
	vsc_channel_forget(channel);
}

uint32_t vsc_channel_retarget(struct vsc_channel *channel, uint32_t vp)
{
	struct vsc *vsc = channel->vsc;
	const struct vmbus_modify_channel message = {
		.header.type = VMBUS_MESSAGE_MODIFY_CHANNEL,
		.relid = channel->relid,
		.target_vp = vp,
	};
	_Alignas(8) uint8_t answer[VMBUS_MESSAGE_MAX];
	const struct vmbus_modify_response *response = (void *)answer;

	vsc_send(vsc, &message, sizeof(message));
	if (vsc->version >= VMBUS_VERSION(5, 3)) {
		do
			vsc_wait_message(vsc, VMBUS_MESSAGE_MODIFY_RESPONSE, answer);
		while (response->relid != channel->relid);
		if (response->status)
			return response->status;
	}
	channel->target_vp = vp;
	return 0;
}

void vsc_channel_signal(struct vsc_channel *channel)
{
	struct hv_hypercall_regs regs = {
		.long_mode = true,
		.rcx = HV_CALL_SIGNAL_EVENT | HV_CONTROL_FAST,
		.rdx = channel->connection_id,
	};

	hv_hypercall(hv_partition_vp(channel->vsc->hv, 0), &regs);
}

int vsc_channel_send(struct vsc_channel *channel, const void *packet, uint32_t bytes)
{
	return vsc_channel_send_with(channel, packet, bytes, NULL, 0);
}

int vsc_channel_send_with(struct vsc_channel *channel, const void *packet, uint32_t bytes,
			  const void *data, uint32_t data_bytes)
{
	bool signal;
	int r = vsc_ring_send_with(&channel->out, packet, bytes, data, data_bytes, &signal);

	if (!r && signal)
		vsc_channel_signal(channel);
	return r;
}

int vsc_channel_receive(struct vsc_channel *channel, void *packet, uint32_t max)
{
	bool signal;
	int r = vsc_ring_receive(&channel->in, packet, max, &signal);

	if (r > 0 && signal)
		vsc_channel_signal(channel);
	return r;
}

bool vsc_take_event(struct vsc *vsc, unsigned int vp, uint32_t relid)
{
	uint8_t *page = vsc_pointer(vsc, vsc->siefp[vp], VMBUS_PAGE_SIZE);
	uint32_t *flags = (uint32_t *)(page + vsc->sint * HV_EVENT_FLAGS_BYTES);
	uint32_t bit = 1u << relid % 32;

	return __atomic_fetch_and(&flags[relid / 32], ~bit, __ATOMIC_SEQ_CST) & bit;
}

static int64_t ns_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000000000ll + now.tv_nsec - start->tv_nsec;
}

/* The time that KVM stays awake for a VP that halts, by default: an interrupt is often near.  It
 * does so only while nothing else wants the CPU, a kernel thread that ends a transfer, say. */
static bool halt_polls(struct vsc_wait *wait)
{
	if (wait->turns++ == 0)
		clock_gettime(CLOCK_MONOTONIC, &wait->start);
	__builtin_ia32_pause();
	if (wait->turns % HALT_SPINS != 0)
		return true;
	sched_yield();
	return ns_since(&wait->start) < HALT_POLL_NS;
}

/* As a VP halts. */
static void halt(struct vsc_channel *channel, struct vsc_wait *wait)
{
	struct hv_vp *vp = hv_partition_vp(channel->vsc->hv, channel->target_vp);
	struct pollfd interrupt = {.events = POLLIN};
	eventfd_t count;

	if (halt_polls(wait))
		return;
	if (ns_since(&wait->start) / 1000000000 >= VSC_TIMEOUT_S)
		vsc_fail("the host does not interrupt");
	/* Another channel's waiter on this VP may take the count: look again soon. */
	interrupt.fd = hv_synic_interrupt_fd(vp, channel->vsc->sint);
	if (poll(&interrupt, 1, HALT_MS) == 1) {
		eventfd_read(interrupt.fd, &count);
		wait->turns = 0;
	}
}

void vsc_channel_sleep(struct vsc_channel *channel)
{
	struct vsc_wait wait = {0};

	while (!vsc_take_event(channel->vsc, channel->target_vp, channel->relid))
		halt(channel, &wait);
}

int vsc_channel_wait(struct vsc_channel *channel, void *packet, uint32_t max)
{
	int r;

	while ((r = vsc_channel_receive(channel, packet, max)) == 0)
		vsc_channel_sleep(channel);
	return r;
}
