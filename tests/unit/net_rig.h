#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "devices/net/net.h"
#include "suite.h"

/* A front end for a NIC backend's tests: queues on one I/O thread, with what came of them. */

#define RIG_BUFFERS 64u
#define RIG_KEPT    256u

struct rig_buffer {
	struct net_buffer buffer;
	struct iovec iov[3];
	uint8_t *data;
	bool lent;
};

struct rig_frame {
	uint8_t *data;
	uint32_t bytes;
	struct net_offload offload;
	unsigned int queue;
};

struct rig_queue {
	struct rig *rig;
	struct net_queue *queue;
};

/* What is atomic is written by the I/O thread. */
struct rig {
	struct io_thread *thread;
	const struct net_backend *backend;
	struct net_port *port;
	struct rig_queue queues[NET_QUEUES_MAX];
	struct rig_buffer buffers[RIG_BUFFERS];
	unsigned int buffers_allowed; /* on the I/O thread */
	bool without_ipv6;	      /* which a host's interface sends when it likes */
	struct rig_frame frames[RIG_KEPT];
	atomic_uint received;
	atomic_uint lent;
	atomic_uint links_lost;
	atomic_uint suspended;
	atomic_uint sent_well;
	atomic_uint sent_badly;
	atomic_int last_error;
};

struct rig_transmit {
	struct net_transmit transmit;
	struct iovec iov[4];
	struct rig *rig;
	unsigned int queue;
	uint8_t data[];
};

/* Waits until condition holds; a test that never sees it is ended by its own time-out. */
#define RIG_WAIT(condition)                                                                        \
	while (!(condition))                                                                       \
	usleep(500)

static inline struct net_buffer *rig_buffer(void *context)
{
	struct rig *rig = ((struct rig_queue *)context)->rig;

	for (unsigned int i = 0; i < rig->buffers_allowed; i++) {
		struct rig_buffer *buffer = &rig->buffers[i];

		if (buffer->lent)
			continue;
		buffer->lent = true;
		rig->lent++;
		return &buffer->buffer;
	}
	return NULL;
}

static inline void rig_received(void *context, struct net_buffer *net_buffer, uint32_t bytes,
				const struct net_offload *offload)
{
	struct rig_queue *queue = context;
	struct rig *rig = queue->rig;
	struct rig_buffer *buffer = container_of(net_buffer, struct rig_buffer, buffer);
	unsigned int number = rig->received;

	ck_assert(buffer->lent);
	buffer->lent = false;
	rig->lent--;
	if (!bytes || (rig->without_ipv6 && buffer->data[12] == 0x86 && buffer->data[13] == 0xdd))
		return;
	ck_assert_uint_le(bytes, net_buffer->bytes);
	if (number < RIG_KEPT) {
		rig->frames[number] = (struct rig_frame){malloc(bytes), bytes, *offload,
							 (unsigned int)(queue - rig->queues)};
		memcpy(rig->frames[number].data, buffer->data, bytes);
	}
	rig->received++;
}

static inline void rig_suspended(void *context)
{
	((struct rig_queue *)context)->rig->suspended++;
}

static inline void rig_link(void *context, bool up)
{
	ck_assert(!up);
	((struct rig_queue *)context)->rig->links_lost++;
}

static const struct net_queue_events rig_events = {
	.buffer = rig_buffer,
	.received = rig_received,
	.suspended = rig_suspended,
	.link = rig_link,
};

static inline void rig_attach(void *context)
{
	struct rig *rig = context;

	for (unsigned int i = 0; i < rig->port->queue_count; i++) {
		struct rig_queue *queue = &rig->queues[i];

		queue->rig = rig;
		ck_assert_int_eq(rig->backend->attach(rig->port, i, rig->thread, &rig_events, queue,
						      &queue->queue),
				 0);
		rig->backend->resume(queue->queue);
	}
}

/* Takes over config. */
static inline void rig_open(struct rig *rig, const char *backend, json_t *config,
			    uint32_t buffer_bytes)
{
	struct error err;

	memset(rig, 0, sizeof(*rig));
	rig->backend = net_backend_find(backend);
	ck_assert_ptr_nonnull(rig->backend);
	ck_assert_msg(rig->backend->open(config, &rig->port, &err) == 0, "%s", err.text);
	json_decref(config);
	rig->buffers_allowed = RIG_BUFFERS;
	for (unsigned int i = 0; i < RIG_BUFFERS; i++) {
		struct rig_buffer *buffer = &rig->buffers[i];

		buffer->data = malloc(buffer_bytes);
		buffer->iov[1] = (struct iovec){buffer->data, 9};
		buffer->iov[2] = (struct iovec){buffer->data + 9, buffer_bytes - 9};
		buffer->buffer = (struct net_buffer){
			.iov = buffer->iov, .iov_count = 3, .bytes = buffer_bytes};
	}
	ck_assert_int_eq(io_thread_new("nic", 64, &rig->thread), 0);
	ck_assert_int_eq(io_thread_start(rig->thread, NULL, NULL), 0);
	io_thread_call(rig->thread, rig_attach, rig);
}

static inline void rig_do_suspend(void *context)
{
	struct rig *rig = context;

	for (unsigned int i = 0; i < rig->port->queue_count; i++)
		rig->backend->suspend(rig->queues[i].queue);
}

static inline void rig_do_resume(void *context)
{
	struct rig *rig = context;

	for (unsigned int i = 0; i < rig->port->queue_count; i++)
		rig->backend->resume(rig->queues[i].queue);
}

static inline void rig_do_detach(void *context)
{
	struct rig *rig = context;

	for (unsigned int i = 0; i < rig->port->queue_count; i++)
		rig->backend->detach(rig->queues[i].queue);
}

/* All is given back then. */
static inline void rig_suspend(struct rig *rig)
{
	unsigned int before = rig->suspended;

	io_thread_call(rig->thread, rig_do_suspend, rig);
	RIG_WAIT(rig->suspended == before + rig->port->queue_count);
	ck_assert_uint_eq(rig->lent, 0);
}

static inline void rig_close(struct rig *rig)
{
	rig_suspend(rig);
	io_thread_call(rig->thread, rig_do_detach, rig);
	rig->backend->close(rig->port);
	io_thread_free(rig->thread);
	for (unsigned int i = 0; i < RIG_BUFFERS; i++)
		free(rig->buffers[i].data);
	for (unsigned int i = 0; i < MIN(rig->received, RIG_KEPT); i++)
		free(rig->frames[i].data);
}

static inline void rig_sent(struct net_transmit *net_transmit, int result)
{
	struct rig_transmit *transmit = container_of(net_transmit, struct rig_transmit, transmit);

	if (result)
		transmit->rig->last_error = result;
	if (result)
		transmit->rig->sent_badly++;
	else
		transmit->rig->sent_well++;
	free(transmit);
}

static inline void rig_do_send(void *context)
{
	struct rig_transmit *transmit = context;
	struct rig *rig = transmit->rig;

	rig->backend->transmit(rig->queues[transmit->queue].queue, &transmit->transmit);
}

static inline void rig_send(struct rig *rig, unsigned int queue, const void *data, uint32_t bytes,
			    struct net_offload offload)
{
	struct rig_transmit *transmit = calloc(1, sizeof(*transmit) + bytes);

	memcpy(transmit->data, data, bytes);
	transmit->rig = rig;
	transmit->queue = queue;
	transmit->iov[1] = (struct iovec){transmit->data, 7};
	transmit->iov[2] = (struct iovec){transmit->data + 7, 3};
	transmit->iov[3] = (struct iovec){transmit->data + 10, bytes - 10};
	transmit->transmit = (struct net_transmit){.iov = transmit->iov,
						   .iov_count = 4,
						   .bytes = bytes,
						   .offload = offload,
						   .done = rig_sent};
	io_thread_call(rig->thread, rig_do_send, transmit);
}
