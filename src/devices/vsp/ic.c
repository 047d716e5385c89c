#include "devices/vsp/ic.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "base/wire.h"
#include "vmbus/wire.h"

static const struct ic_version frameworks[] = {{3, 0}, {1, 0}};

/* Which state may follow which. */
static const uint8_t transitions[IC_STATES] = {
	[IC_CLOSED] = 1 << IC_NEGOTIATING,
	[IC_NEGOTIATING] = 1 << IC_READY | 1 << IC_REFUSED | 1 << IC_CLOSED,
	[IC_READY] = 1 << IC_CLOSED,
	[IC_REFUSED] = 1 << IC_CLOSED,
};

static void set_state(struct ic *ic, enum ic_state state)
{
	assert(transitions[ic->state] & 1 << state);
	ic->state = state;
}

static void box_clear(struct ic_box *box)
{
	free(box->data);
	*box = (struct ic_box){0};
}

/* Sends what is in the outbox, if the ring has room.  I/O thread; locked. */
static void send_box(struct ic *ic, struct channel *channel)
{
	if (!ic->outbox.data || channel_send(channel, PACKET_DATA_INBAND, 0, ic->transaction_id,
					     ic->outbox.data, ic->outbox.size) == -EAGAIN)
		return;
	box_clear(&ic->outbox);
	channel_flush(channel);
	if (ic->ops->interrupt_always)
		channel_interrupt(channel);
}

/* Fills the inbox; false if there is nothing to fill it with.  I/O thread; locked. */
static bool receive_box(struct ic *ic, struct channel *channel)
{
	struct packet packet;

	if (channel_receive(channel, &packet) <= 0)
		return false;
	if (packet.type != PACKET_DATA_INBAND || packet.payload_size < sizeof(struct ic_header) ||
	    packet.payload_size > IC_PACKET_MAX) {
		ic->counters.unexpected++;
		return true;
	}
	ic->inbox.data = malloc(packet.payload_size);
	if (!ic->inbox.data)
		return true;
	memcpy(ic->inbox.data, packet.payload, packet.payload_size);
	ic->inbox.size = packet.payload_size;
	eventfd_write(ic->wakeup, 1);
	return true;
}

static void vsp_service(void *context, struct channel *channel)
{
	struct ic *ic = context;

	if (*ic->paused)
		return;
	pthread_mutex_lock(&ic->lock);
	send_box(ic, channel);
	/* What the main loop has no eyes for yet stays on the ring. */
	while (!ic->inbox.data && receive_box(ic, channel))
		;
	pthread_mutex_unlock(&ic->lock);
}

/* Has the I/O thread send a packet: the header, then the body. */
static int post(struct ic *ic, uint16_t type, const void *body, uint32_t size)
{
	uint32_t total = (uint32_t)sizeof(struct ic_header) + size;
	uint8_t *data = malloc(total);
	const struct ic_header header = {
		.pipe_type = IC_PIPE_DATA,
		.pipe_size = total - (uint32_t)offsetof(struct ic_header, framework),
		.framework = ic->framework,
		.type = type,
		.version = ic->version,
		.size = (uint16_t)size,
		.transaction_id = (uint8_t)(ic->transaction_id + 1),
		.flags = IC_FLAG_TRANSACTION | IC_FLAG_REQUEST,
	};

	if (!data)
		return -ENOMEM;
	memcpy(data, &header, sizeof(header));
	memcpy(data + sizeof(header), body, size);
	pthread_mutex_lock(&ic->lock);
	ic->transaction_id++;
	box_clear(&ic->outbox);
	ic->outbox = (struct ic_box){data, total};
	pthread_mutex_unlock(&ic->lock);
	ic->type = type;
	ic->counters.requests++;
	channel_kick(ic->channel);
	return 0;
}

int ic_request(struct ic *ic, const void *body, uint32_t size, uint64_t timeout_ns, ic_done done)
{
	int r;

	if (ic->state != IC_READY)
		return -ENOTCONN;
	if (ic->done)
		return -EBUSY;
	r = post(ic, ic->ops->message_type, body, size);
	if (r < 0)
		return r;
	ic->done = done;
	if (timeout_ns)
		ic_timer_start(&ic->timeout, timeout_ns);
	return 0;
}

/* A request that the guest has not seen yet it shall not see any more. */
static void clear_outbox(struct ic *ic)
{
	pthread_mutex_lock(&ic->lock);
	box_clear(&ic->outbox);
	pthread_mutex_unlock(&ic->lock);
}

void ic_forget(struct ic *ic)
{
	ic_timer_stop(&ic->timeout);
	clear_outbox(ic);
	ic->done = NULL;
}

static void finish(struct ic *ic, int result, const struct ic_answer *answer)
{
	ic_done done = ic->done;

	ic_forget(ic);
	if (done)
		done(ic, result, answer);
}

static void on_timeout(void *context)
{
	struct ic *ic = context;

	ic->counters.timeouts++;
	finish(ic, -ETIMEDOUT, NULL);
}

bool ic_version_at_least(const struct ic *ic, uint16_t major, uint16_t minor)
{
	return ic->version.major > major ||
	       (ic->version.major == major && ic->version.minor >= minor);
}

/* Offers the guest all the versions that we know, to choose one of each. */
static void negotiate(struct ic *ic)
{
	uint8_t body[sizeof(struct ic_negotiate) +
		     (ARRAY_LENGTH(frameworks) + IC_VERSIONS_MAX) * sizeof(struct ic_version)];
	struct ic_version *versions = (void *)(body + sizeof(struct ic_negotiate));
	unsigned int first = ic->version_first, count = ic->ops->version_count - first;
	const struct ic_negotiate message = {
		.framework_count = ARRAY_LENGTH(frameworks),
		.version_count = (uint16_t)count,
	};

	memcpy(body, &message, sizeof(message));
	memcpy(versions, frameworks, sizeof(frameworks));
	memcpy(versions + ARRAY_LENGTH(frameworks), ic->ops->versions + first,
	       count * sizeof(*versions));
	ic->framework = ic->version = (struct ic_version){0};
	post(ic, IC_NEGOTIATE, body,
	     (uint32_t)(sizeof(message) + (ARRAY_LENGTH(frameworks) + count) * sizeof(*versions)));
}

static bool version_among(const struct ic_version *versions, unsigned int count,
			  const struct ic_version *wanted)
{
	for (unsigned int i = 0; i < count; i++) {
		if (memcmp(&versions[i], wanted, sizeof(*wanted)) == 0)
			return true;
	}
	return false;
}

static void handle_negotiated(struct ic *ic, const struct ic_answer *answer)
{
	unsigned int first = ic->version_first;
	struct {
		struct ic_negotiate counts;
		struct ic_version versions[2];
	} chosen;

	if (answer->size < sizeof(chosen)) {
		set_state(ic, IC_REFUSED);
		return;
	}
	memcpy(&chosen, answer->body, sizeof(chosen));
	if (chosen.counts.framework_count != 1 || chosen.counts.version_count != 1 ||
	    !version_among(frameworks, ARRAY_LENGTH(frameworks), &chosen.versions[0]) ||
	    !version_among(ic->ops->versions + first, ic->ops->version_count - first,
			   &chosen.versions[1])) {
		set_state(ic, IC_REFUSED);
		return;
	}
	ic->framework = chosen.versions[0];
	ic->version = chosen.versions[1];
	set_state(ic, IC_READY);
	if (ic->ops->ready)
		ic->ops->ready(ic);
}

static bool awaited(const struct ic *ic, const struct ic_header *header)
{
	if ((ic->state != IC_NEGOTIATING && !ic->done) || ic->state == IC_REFUSED)
		return false;
	return header->type == ic->type && header->transaction_id == ic->transaction_id &&
	       header->flags & IC_FLAG_RESPONSE;
}

static void handle(struct ic *ic, const struct ic_box *box)
{
	struct ic_header header;
	struct ic_answer answer;

	memcpy(&header, box->data, sizeof(header));
	if (!awaited(ic, &header)) {
		ic->counters.unexpected++;
		return;
	}
	answer = (struct ic_answer){
		.status = header.status,
		.body = box->data + sizeof(header),
		.size = box->size - (uint32_t)sizeof(header),
	};
	ic->counters.answers++;
	if (ic->state == IC_NEGOTIATING)
		handle_negotiated(ic, &answer);
	else
		finish(ic, 0, &answer);
}

void ic_receive(struct ic *ic)
{
	struct ic_box box;

	pthread_mutex_lock(&ic->lock);
	box = ic->inbox;
	ic->inbox = (struct ic_box){0};
	pthread_mutex_unlock(&ic->lock);
	if (!box.data)
		return;
	if (ic->channel) {
		channel_kick(ic->channel);
		handle(ic, &box);
	}
	free(box.data);
}

static struct io_thread *vsp_open(void *context, struct channel *channel)
{
	struct ic *ic = context;

	ic->channel = channel;
	set_state(ic, IC_NEGOTIATING);
	negotiate(ic);
	return ic->env->io_threads[0];
}

static void vsp_close(void *context, struct channel *channel)
{
	struct ic *ic = context;

	ic->channel = NULL;
	set_state(ic, IC_CLOSED);
	box_clear(&ic->outbox);
	box_clear(&ic->inbox);
	finish(ic, -ECONNRESET, NULL);
	if (ic->ops->closed)
		ic->ops->closed(ic);
}

static const struct vsp_ops ic_vsp = {
	.name = "integration",
	.open = vsp_open,
	.close = vsp_close,
	.service = vsp_service,
};

static int make_offer(struct ic *ic, struct error *err)
{
	struct vmbus_offer_config offer = {
		.class_id = ic->ops->class_id,
		.instance_id = ic->ops->instance_id,
		.flags = VMBUS_CHANNEL_ENUMERATE_DEVICE_INTERFACE | VMBUS_CHANNEL_NAMED_PIPE_MODE,
		.ops = &ic_vsp,
		.context = ic,
	};
	int r;

	put_le32(offer.user_defined, IC_PIPE_MODE_MESSAGE);
	r = vmbus_offer_new(ic->env->bus, &offer, &ic->offer);
	return r ? error_host(err, -r, "the integration service %s cannot be offered",
			      ic->ops->name)
		 : 0;
}

int ic_init(struct ic *ic, struct error *err)
{
	int r;

	assert(ic->ops->version_count <= IC_VERSIONS_MAX);
	pthread_mutex_init(&ic->lock, NULL);
	r = ic_timer_init(&ic->timeout, ic->env->loop, on_timeout, ic);
	if (r)
		goto fail_lock;
	r = ic->ops->init ? ic->ops->init(ic) : 0;
	if (r)
		goto fail_timer;
	r = make_offer(ic, err);
	if (r == 0)
		return 0;
	if (ic->ops->cleanup)
		ic->ops->cleanup(ic);
	ic_timer_cleanup(&ic->timeout);
	pthread_mutex_destroy(&ic->lock);
	return r;

fail_timer:
	ic_timer_cleanup(&ic->timeout);
fail_lock:
	pthread_mutex_destroy(&ic->lock);
	return error_host(err, -r, "cannot make the integration service %s", ic->ops->name);
}

void ic_cleanup(struct ic *ic)
{
	vmbus_offer_rescind(ic->offer);
	if (ic->ops->cleanup)
		ic->ops->cleanup(ic);
	ic_timer_cleanup(&ic->timeout);
	pthread_mutex_destroy(&ic->lock);
}

void ic_hold(struct ic *ic, bool held)
{
	ic_timer_hold(&ic->timeout, held);
	if (ic->ops->hold)
		ic->ops->hold(ic, held);
}
