#pragma once

#include <jansson.h>

#include "base/io_thread.h"
#include "devices/device.h"
#include "devices/vsp/hvsock_wire.h"
#include "vsc_bus.h"

/*
 * The hv_sock driver of the software guest, and the host's side of the device: connections as
 * Linux's hv_sock makes, uses and ends them.  What must not fail ends the program by a sentence.
 */

#define VSC_HVSOCK_IO_THREADS_MAX 4

struct vsc_hvsock {
	struct vsc *vsc;
	const struct device_ops *ops;
	void *device;
	struct io_thread *io_threads[VSC_HVSOCK_IO_THREADS_MAX];
	unsigned int io_thread_count;
	/* The last request that the device told of, main loop; token 0: none since. */
	uint32_t asked_port;
	uint64_t asked_token;
	bool deaf; /* the host does not take events */
};

/* An open connection, the guest's side.  One thread at a time. */
struct vsc_socket {
	struct vsc_hvsock *hvsock;
	struct vsc_channel channel;
	uint64_t mark; /* of the guest's pages */
	uint8_t *packet;
	uint32_t first; /* of what the packet holds */
	uint32_t left;
	bool end; /* the host's FIN came */
};

/* Makes the machine, its I/O threads and the device, and connects to the bus. */
void vsc_hvsock_start(struct vsc_hvsock *hvsock, unsigned int io_thread_count);
void vsc_hvsock_stop(struct vsc_hvsock *hvsock);
/* Makes or ends the device alone. */
void vsc_hvsock_create(struct vsc_hvsock *hvsock);
void vsc_hvsock_destroy(struct vsc_hvsock *hvsock);
/* Runs one of device_ops' functions on the main loop. */
void vsc_hvsock_do(struct vsc_hvsock *hvsock, void (*function)(void *device));

/* Calls a verb with parameters (taken over): the reply, or NULL if it was refused. */
json_t *vsc_hvsock_call(struct vsc_hvsock *hvsock, const char *verb, json_t *parameters);
/* A figure of inspect. */
uint64_t vsc_hvsock_figure(struct vsc_hvsock *hvsock, const char *name);

/* The host connects to a port of the guest: its end of the socket, or -1 if that was refused. */
int vsc_hvsock_host_connect(struct vsc_hvsock *hvsock, uint32_t port);
/* The guest asks for a port of the host; waits until the host has heard of it. */
void vsc_hvsock_ask(struct vsc_hvsock *hvsock, uint32_t own_port, uint32_t port);
/* The host says yes to the last that the guest asked for: its end, or -1. */
int vsc_hvsock_accept(struct vsc_hvsock *hvsock);

/* Opens the connection that is offered to a port: the listener's for those from the host, the
 * host's for our own. */
void vsc_socket_open(struct vsc_hvsock *hvsock, uint32_t port, uint32_t ring_pages,
		     struct vsc_socket *socket);
/* Sends all of it, waiting for room; false if there was none and wait is false. */
bool vsc_socket_send(struct vsc_socket *socket, const void *data, size_t bytes, bool wait);
/* Ends our half. */
void vsc_socket_fin(struct vsc_socket *socket);
/* The next bytes, waiting for some: 0 at the end. */
size_t vsc_socket_receive(struct vsc_socket *socket, void *data, size_t max);
/* The same, without a copy of its own: they stay where *data says until the next call. */
size_t vsc_socket_look(struct vsc_socket *socket, const uint8_t **data, size_t max);
/* Waits for the host to let go of the connection, and does so, too. */
void vsc_socket_release(struct vsc_socket *socket);
/* Only forgets it: the bus is gone or unloaded. */
void vsc_socket_forget(struct vsc_socket *socket);
