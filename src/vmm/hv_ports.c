#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/hv_internal.h"
#include "vmm/io_bus.h"
#include "vmm/machine.h"

/* A table of ports sorted by connection id; posting and signalling share it for reading. */

#define DOORBELL_SIZE 4u

struct port {
	uint32_t connection_id;
	hv_message_handler handler; /* NULL: an event port */
	void *context;
	int eventfd;
	bool in_kernel; /* KVM has the ioeventfd */
};

struct hv_ports {
	struct io_bus *bus;
	pthread_rwlock_t lock;
	struct port *table;
	size_t count;
	size_t capacity;
};

/* VPs that post without end must not keep the main loop out: by default, readers go first. */
static void init_lock(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attributes;

	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
}

int hv_ports_new(struct io_bus *bus, struct hv_ports **out)
{
	struct hv_ports *ports = calloc(1, sizeof(*ports));

	if (!ports)
		return -ENOMEM;
	ports->bus = bus;
	init_lock(&ports->lock);
	*out = ports;
	return 0;
}

void hv_ports_free(struct hv_ports *ports)
{
	if (!ports)
		return;
	for (size_t i = 0; i < ports->count; i++) {
		const struct port *port = &ports->table[i];

		if (port->in_kernel)
			io_bus_remove_eventfd(ports->bus, MACHINE_PORT_HV_DOORBELL, DOORBELL_SIZE,
					      port->connection_id, port->eventfd);
	}
	pthread_rwlock_destroy(&ports->lock);
	free(ports->table);
	free(ports);
}

/* The index of the first port whose id is not below connection_id. */
static size_t lower_bound(const struct hv_ports *ports, uint32_t connection_id)
{
	size_t low = 0;
	size_t high = ports->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ports->table[middle].connection_id < connection_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct port *find(const struct hv_ports *ports, uint32_t connection_id, bool message)
{
	size_t index = lower_bound(ports, connection_id);
	struct port *port = &ports->table[index];

	if (index == ports->count || port->connection_id != connection_id ||
	    (port->handler != NULL) != message)
		return NULL;
	return port;
}

static int grow(struct hv_ports *ports)
{
	size_t capacity = ports->capacity ? 2 * ports->capacity : 16;
	struct port *table = reallocarray(ports->table, capacity, sizeof(*table));

	if (!table)
		return -ENOMEM;
	ports->table = table;
	ports->capacity = capacity;
	return 0;
}

static int insert_locked(struct hv_ports *ports, const struct port *port)
{
	size_t index = lower_bound(ports, port->connection_id);

	if (index < ports->count && ports->table[index].connection_id == port->connection_id)
		return -EEXIST;
	if (ports->count == HV_PORTS_MAX)
		return -ENOSPC;
	if (ports->count == ports->capacity && grow(ports) < 0)
		return -ENOMEM;
	memmove(&ports->table[index + 1], &ports->table[index],
		(ports->count - index) * sizeof(*port));
	ports->table[index] = *port;
	ports->count++;
	return 0;
}

static int insert(struct hv_ports *ports, const struct port *port)
{
	int r;

	pthread_rwlock_wrlock(&ports->lock);
	r = insert_locked(ports, port);
	pthread_rwlock_unlock(&ports->lock);
	return r;
}

/* Takes the port out and tells what it was; false if there is none. */
static bool take(struct hv_ports *ports, uint32_t connection_id, bool message, struct port *out)
{
	struct port *port;

	pthread_rwlock_wrlock(&ports->lock);
	port = find(ports, connection_id, message);
	if (port) {
		*out = *port;
		ports->count--;
		memmove(port, port + 1,
			(size_t)(&ports->table[ports->count] - port) * sizeof(*port));
	}
	pthread_rwlock_unlock(&ports->lock);
	return port;
}

int hv_ports_add_message(struct hv_ports *ports, uint32_t connection_id, hv_message_handler handler,
			 void *context)
{
	const struct port port = {
		.connection_id = connection_id,
		.handler = handler,
		.context = context,
		.eventfd = -1,
	};

	return insert(ports, &port);
}

void hv_ports_remove_message(struct hv_ports *ports, uint32_t connection_id)
{
	struct port port;

	take(ports, connection_id, true, &port);
}

/* KVM is asked without the lock held, for it takes its time: exits serve the port meanwhile. */
int hv_ports_add_event(struct hv_ports *ports, uint32_t connection_id, int eventfd)
{
	const struct port new_port = {.connection_id = connection_id, .eventfd = eventfd};
	struct port *port;
	int r = insert(ports, &new_port);

	if (r < 0)
		return r;
	if (io_bus_add_eventfd(ports->bus, MACHINE_PORT_HV_DOORBELL, DOORBELL_SIZE, connection_id,
			       eventfd) < 0)
		return 0;
	pthread_rwlock_wrlock(&ports->lock);
	port = find(ports, connection_id, false);
	port->in_kernel = true;
	pthread_rwlock_unlock(&ports->lock);
	return 0;
}

void hv_ports_remove_event(struct hv_ports *ports, uint32_t connection_id)
{
	struct port port;

	if (take(ports, connection_id, false, &port) && port.in_kernel)
		io_bus_remove_eventfd(ports->bus, MACHINE_PORT_HV_DOORBELL, DOORBELL_SIZE,
				      connection_id, port.eventfd);
}

int hv_ports_post(struct hv_ports *ports, uint32_t connection_id, uint32_t message_type,
		  const void *payload, size_t size)
{
	const struct port *port;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&ports->lock);
	port = find(ports, connection_id, true);
	if (port)
		r = port->handler(port->context, message_type, payload, size);
	pthread_rwlock_unlock(&ports->lock);
	return r;
}

int hv_ports_signal(struct hv_ports *ports, uint32_t connection_id)
{
	static const uint64_t one = 1;
	const struct port *port;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&ports->lock);
	port = find(ports, connection_id, false);
	/* A full eventfd (EAGAIN) is signalled already. */
	if (port) {
		ssize_t written = write(port->eventfd, &one, sizeof(one));

		r = written < 0 && errno != EAGAIN ? -EINVAL : 0;
	}
	pthread_rwlock_unlock(&ports->lock);
	return r;
}
