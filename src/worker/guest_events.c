#include "worker/guest_events.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

int guest_events_init(struct guest_events *events)
{
	events->pending = 0;
	events->crashes = 0;
	events->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (events->eventfd < 0)
		return -errno;
	return -pthread_mutex_init(&events->lock, NULL);
}

void guest_events_destroy(struct guest_events *events)
{
	close(events->eventfd);
	pthread_mutex_destroy(&events->lock);
}

/* Marks the event, with the lock held; true if it was not pending yet. */
static bool mark(struct guest_events *events, enum guest_event event)
{
	bool is_new = !(events->pending & 1u << event);

	events->pending |= 1u << event;
	eventfd_write(events->eventfd, 1);
	return is_new;
}

void guest_events_raise(struct guest_events *events, enum guest_event event)
{
	pthread_mutex_lock(&events->lock);
	mark(events, event);
	pthread_mutex_unlock(&events->lock);
}

void guest_events_raise_failed(struct guest_events *events, const char *sentence)
{
	pthread_mutex_lock(&events->lock);
	if (mark(events, GUEST_FAILED))
		snprintf(events->sentence, sizeof(events->sentence), "%s", sentence);
	pthread_mutex_unlock(&events->lock);
}

void guest_events_raise_crash(struct guest_events *events, const struct hv_crash *crash)
{
	pthread_mutex_lock(&events->lock);
	if (mark(events, GUEST_CRASH))
		events->crash = *crash;
	events->crashes++;
	pthread_mutex_unlock(&events->lock);
}

void guest_events_read_crash(struct guest_events *events, struct hv_crash *crash)
{
	pthread_mutex_lock(&events->lock);
	*crash = events->crash;
	pthread_mutex_unlock(&events->lock);
}

uint64_t guest_events_crashes(struct guest_events *events)
{
	uint64_t crashes;

	pthread_mutex_lock(&events->lock);
	crashes = events->crashes;
	pthread_mutex_unlock(&events->lock);
	return crashes;
}

void guest_events_raise_debug_exit(struct guest_events *events, uint8_t code)
{
	pthread_mutex_lock(&events->lock);
	if (mark(events, GUEST_DEBUG_EXIT))
		events->debug_code = code;
	pthread_mutex_unlock(&events->lock);
}

bool guest_events_take(struct guest_events *events, enum guest_event *event)
{
	bool found = false;

	pthread_mutex_lock(&events->lock);
	for (int i = 0; i < GUEST_EVENTS && !found; i++) {
		found = events->pending & 1u << i;
		if (found)
			*event = (enum guest_event)i;
	}
	if (found)
		events->pending &= ~(1u << *event);
	pthread_mutex_unlock(&events->lock);
	return found;
}

void guest_events_clear(struct guest_events *events)
{
	pthread_mutex_lock(&events->lock);
	events->pending = 0;
	pthread_mutex_unlock(&events->lock);
}
