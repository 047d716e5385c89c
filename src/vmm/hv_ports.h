#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Connection ids (TLFS, inter-partition communication): where PostMessage and SignalEvent go.
 * The VMBus registers here; the hypercall layer looks up.  An id is a message port or an event
 * port. Message handlers run with the table shared: they must not add or remove, and a lock that
 * they take must not be held around adding or removing.
 */

struct hv_ports;

#define HV_PORTS_MAX 4096

#define HV_MESSAGE_PAYLOAD_MAX 240

/*
 * On the posting VP's thread, with the payload already in private memory; must not block.
 * 0, or -EAGAIN for HV_STATUS_INSUFFICIENT_BUFFERS (the guest tries again), or
 * -EINVAL for HV_STATUS_INVALID_PARAMETER.
 */
typedef int (*hv_message_handler)(void *context, uint32_t message_type, const void *payload,
				  size_t size);

/* -EEXIST, -ENOMEM; -ENOSPC past HV_PORTS_MAX.  No handler runs any more when remove returns; an
 * unknown id is no harm. */
int hv_ports_add_message(struct hv_ports *ports, uint32_t connection_id, hv_message_handler handler,
			 void *context);
void hv_ports_remove_message(struct hv_ports *ports, uint32_t connection_id);

/*
 * SignalEvent on the id adds 1 to eventfd: through an ioeventfd on the doorbell port while
 * KVM takes more, by the hypercall exit otherwise.  -EEXIST, -ENOMEM, -ENOSPC.  Main loop or I/O
 * threads; an id has one owner at a time.  The descriptor stays the caller's, open until removed.
 */
int hv_ports_add_event(struct hv_ports *ports, uint32_t connection_id, int eventfd);
void hv_ports_remove_event(struct hv_ports *ports, uint32_t connection_id);

/* What the two hypercalls do: 0, -ENOENT for an unknown id, or the handler's error. */
int hv_ports_post(struct hv_ports *ports, uint32_t connection_id, uint32_t message_type,
		  const void *payload, size_t size);
int hv_ports_signal(struct hv_ports *ports, uint32_t connection_id);
